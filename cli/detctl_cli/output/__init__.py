"""Output of all commands: the terminal, cleaned text and times."""
