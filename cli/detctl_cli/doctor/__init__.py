"""Checks what guides on reproducibility recommend to check by hand: the source of a script, variables and the interpreter."""
