"""Folders made by `detctl record`: read, checked, and sent to a coordinator for comparison."""
