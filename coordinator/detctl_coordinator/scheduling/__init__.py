"""Drives audits: which machine runs what, what arrived, and when a verdict is due."""
