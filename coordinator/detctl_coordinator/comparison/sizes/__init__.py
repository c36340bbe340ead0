"""Sizes of differences: exact ones, element by element, from kept values; estimates from sketches."""
