"""Requests an audit and follows it to its verdict."""
