"""Observes the host: files, folder listings, variables, source code and the order of completions."""
