"""The interpreter that is observed: its command line, imports, patched functions, paths and signals."""
