"""Starts a training under a shim that ends the whole tree of processes (docs/adr/0024, docs/adr/0026, docs/adr/0027)."""
