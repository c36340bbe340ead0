"""The jobs of a coordinator: which runs this agent trains now, and how each one ends."""
