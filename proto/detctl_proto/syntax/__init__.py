"""What users and other machines may write: names, windows of steps, parameter patterns, clean text."""
