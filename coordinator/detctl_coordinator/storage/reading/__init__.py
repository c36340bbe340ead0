"""Reads stored runs for comparison, checks them against their seals, and copies them."""
