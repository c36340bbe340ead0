"""What this machine offers: recipes, data folders, interpreters, and who may use them."""
