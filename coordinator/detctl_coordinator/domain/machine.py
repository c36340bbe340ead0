"""A machine as its agent announced it, and the JSON document that the store keeps of it.

Every heartbeat rewrites the document: other replicas see by `beat` that the agent lives, and by `working` how far its runs are.
Progress stays out of the audit's document, which would otherwise be rewritten twice a second.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from detctl_coordinator.domain.widths import U32, U64, Finite


@dataclass(frozen=True)
class Recipe:
    """What a machine offers to run. `parameters`: this machine's values; `patterns`: regular expressions by parameter."""

    name: str
    source_digest: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    paths: tuple[str, ...] = ()
    patterns: Mapping[str, str] = field(default_factory=dict)
    git_commit: str = ""
    command: tuple[str, ...] = ()
    timeout_s: int = 0


@dataclass(frozen=True)
class Working:
    """One run that the agent has in hand."""

    run_id: str
    attempt: U32
    step: U32 = 0
    records: U64 = 0


@dataclass(frozen=True)
class Machine:
    """See the module's text. environments: name -> what it emulates."""

    name: str
    boot_id: str = ""
    version: str = ""
    recipes: Mapping[str, Recipe] = field(default_factory=dict)
    environments: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    manifest: Mapping[str, Any] = field(default_factory=dict)
    parallel_runs: U32 = 1
    working: tuple[Working, ...] = ()
    connected: bool = True  # as its last word; a lease says whether to believe it
    beat: str = ""  # another value at each sign of life
    last_seen_unix_s: Finite = 0.0
