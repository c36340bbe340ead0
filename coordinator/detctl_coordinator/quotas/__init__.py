"""Limits for each caller: audits, bytes and failed attempts."""
