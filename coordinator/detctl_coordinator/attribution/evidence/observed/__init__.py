"""What the two runs read, drew and prepared, as their recordings show it."""
