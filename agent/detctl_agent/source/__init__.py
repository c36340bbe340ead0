"""The source code of a training: its folder or git commit, its digest and its private copy."""
