"""Commands that look after the data and the shell of this machine."""
