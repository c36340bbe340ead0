"""Observes the model: its modules, their tensors, steps, collectives and checkpoints."""
