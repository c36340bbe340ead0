"""A machine as its agent announced it, and its JSON document in the store.

Every heartbeat rewrites the document. From `beat`, other replicas see that the agent is alive, and from `working` the progress of its
runs. Progress is not in the audit's document, which would otherwise be rewritten twice a second.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from detctl_proto.recordings.side_by_side import SideBySide

from detctl_coordinator.domain.widths import U32, U64, Finite


@dataclass(frozen=True)
class Recipe:
    """A recipe that a machine offers. `parameters`: this machine's values. `patterns`: regular expressions by parameter."""

    name: str
    source_digest: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    paths: tuple[str, ...] = ()
    patterns: Mapping[str, str] = field(default_factory=dict)
    git_commit: str = ""
    command: tuple[str, ...] = ()
    timeout_s: int = 0


@dataclass(frozen=True)
class OfferNote:
    """What a user of a recipe should know. `unusable`: the machine does not offer it; otherwise each run gets a copy of its folder."""

    recipe: str
    unusable: bool
    reason: str


@dataclass(frozen=True)
class Working:
    """One active run of the agent."""

    run_id: str
    attempt: U32
    step: U32 = 0
    records: U64 = 0
    # For people who watch, and stored apart from the rest, because older replicas know only the fields above.
    activity: U32 = 0  # a RunActivity of the contract
    steps_done: U32 = 0
    elapsed_s: U32 = 0
    last_output: str = ""
    beside: U32 = 0  # other runs that train on the machine now
    side_by_side: SideBySide | None = None  # None: not measured


@dataclass(frozen=True)
class Machine:
    """A machine. `environments`: name -> the hardware that it emulates."""

    name: str
    boot_id: str = ""
    version: str = ""
    recipes: Mapping[str, Recipe] = field(default_factory=dict)
    environments: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    manifest: Mapping[str, Any] = field(default_factory=dict)
    parallel_runs: U32 = 1
    working: tuple[Working, ...] = ()
    connected: bool = True  # as last reported; the lease decides whether it still holds
    beat: str = ""  # changes with each heartbeat
    last_seen_unix_s: Finite = 0.0
    notes: tuple[OfferNote, ...] = ()
