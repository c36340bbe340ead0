"""What the user's own code reads outside the training: clock, folder, host, commands, databases, files' times, memory."""
