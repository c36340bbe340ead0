"""Receives the frames of a probe, checks them, and packs them into segments."""
