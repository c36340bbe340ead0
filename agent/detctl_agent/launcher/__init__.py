"""Starts a training under a shim that cannot leave it behind (rulings 18 to 20)."""
