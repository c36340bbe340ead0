"""detctl's probe. Users import one thing of it: `from detctl_probe import set_deterministic`. Importing it imports nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from detctl_probe.deterministic import set_deterministic

__all__ = ["set_deterministic"]


def __getattr__(name: str) -> Any:
    if name == "set_deterministic":
        from detctl_probe.deterministic import set_deterministic

        return set_deterministic
    raise AttributeError("module 'detctl_probe' has no attribute %r" % name)
