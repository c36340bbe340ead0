"""Errors that a user can correct. Each is one line and is printed without a traceback."""

from __future__ import annotations


class AgentError(Exception):
    """One line that states what is wrong, where, and what to do."""


class CatalogError(AgentError):
    """The catalog cannot be used. The text names the file and the key."""


class UnsafeCatalogError(CatalogError):
    """Other users could change the catalog, so nothing in it may run."""


class RunRefusedError(AgentError):
    """A run is not started, and would be refused again as it was requested."""


class SourceError(AgentError):
    """The recipe's folder cannot be read or copied, or is too large."""


class DiskFullError(AgentError):
    """No space is left for the data of the run."""
