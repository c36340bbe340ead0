"""What the guides of this field tell people to check by hand, checked: a script's source, the variables, the interpreter."""
