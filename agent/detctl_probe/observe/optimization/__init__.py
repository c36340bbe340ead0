"""Observes the loss, the gradients and the updates of an optimizer."""
