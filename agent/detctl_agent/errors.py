"""What can go wrong through a user's doing: one line each, printed without a traceback."""

from __future__ import annotations


class AgentError(Exception):
    """One line for people: what is wrong, where, what to do."""


class CatalogError(AgentError):
    """The catalog cannot be used; names file and key."""


class UnsafeCatalogError(CatalogError):
    """Somebody else could change the catalog: nothing of it may run."""


class RunRefusedError(AgentError):
    """A run is not started, and never will be as it was asked for."""


class SourceError(AgentError):
    """The recipe's folder cannot be read, copied or is too large."""


class DiskFullError(AgentError):
    """No space is left where the run's data must go."""
