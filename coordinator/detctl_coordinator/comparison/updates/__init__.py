"""Compares the updates of a training: what an optimizer has before its step, and what it leaves behind."""
