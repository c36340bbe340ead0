"""Shows what a command is doing: a live table on a terminal, lines and a heartbeat in a pipe."""
