"""What every command prints with: the terminal, cleaned text and times."""
