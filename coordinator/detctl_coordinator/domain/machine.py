"""A machine as its agent announced it, and its JSON document in the store.

Every heartbeat rewrites the document. From `beat`, other replicas see that the agent is alive, and from `working` the progress of its
runs. Progress is not in the audit's document, which would otherwise be rewritten twice a second.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


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
class Working:
    """One active run of the agent."""

    run_id: str
    attempt: int
    step: int = 0
    records: int = 0


@dataclass(frozen=True)
class Machine:
    """A machine. `environments`: name -> the hardware that it emulates."""

    name: str
    boot_id: str = ""
    version: str = ""
    recipes: Mapping[str, Recipe] = field(default_factory=dict)
    environments: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    manifest: Mapping[str, Any] = field(default_factory=dict)
    parallel_runs: int = 1
    working: tuple[Working, ...] = ()
    connected: bool = True  # as last reported; the lease decides whether it still holds
    beat: str = ""  # changes with each heartbeat
    last_seen_unix_s: float = 0.0


def machine_to_document(machine: Machine) -> dict[str, Any]:
    """Returns JSON values, with keys as in the dataclass."""
    return {
        "name": machine.name,
        "boot_id": machine.boot_id,
        "version": machine.version,
        "recipes": [
            {
                "name": recipe.name,
                "source_digest": recipe.source_digest,
                "parameters": dict(recipe.parameters),
                "paths": list(recipe.paths),
                "patterns": dict(recipe.patterns),
                "git_commit": recipe.git_commit,
                "command": list(recipe.command),
                "timeout_s": recipe.timeout_s,
            }
            for recipe in machine.recipes.values()
        ],
        "environments": {name: dict(emulate) for name, emulate in machine.environments.items()},
        "manifest": dict(machine.manifest),
        "parallel_runs": machine.parallel_runs,
        "working": [[w.run_id, w.attempt, w.step, w.records] for w in machine.working],
        "connected": machine.connected,
        "beat": machine.beat,
        "last_seen_unix_s": machine.last_seen_unix_s,
    }


def machine_from_document(document: Mapping[str, Any]) -> Machine:
    """Returns the machine of a document of machine_to_document."""
    recipes = [
        Recipe(**{**raw, "paths": tuple(raw["paths"]), "command": tuple(raw["command"])}) for raw in document["recipes"]
    ]
    return Machine(
        name=document["name"],
        boot_id=document["boot_id"],
        version=document["version"],
        recipes={recipe.name: recipe for recipe in recipes},
        environments=document["environments"],
        manifest=document["manifest"],
        parallel_runs=document["parallel_runs"],
        working=tuple(Working(*row) for row in document["working"]),
        connected=document["connected"],
        beat=document["beat"],
        last_seen_unix_s=document["last_seen_unix_s"],
    )
