"""The cause words of docs/causes.md, each with its origin."""

from __future__ import annotations

from collections.abc import Mapping

from detctl_proto.verdict_words import OriginWord

CAUSES: Mapping[str, OriginWord | None] = {
    "unseeded-rng": "code",
    "worker-seeding": "code",
    "identity-seed": "code",
    "hash-order": "code",
    "stateful-data": "code",
    "concurrency": "code",
    "extra-rng-draw": "code",
    "resume": "code",
    "uninitialised-memory": "code",
    "memory-layout": "code",
    "nondeterministic-kernel": "code",
    "filesystem-order": "environment",
    "data-content": "environment",
    "code-version": "environment",
    "library-version": "environment",
    "worker-count": "environment",
    "config-drift": "environment",
    "world-size": "environment",
    "collective-algorithm": "environment",
    "kernel-choice": "environment",
    "cache-state": "environment",
    "thread-count": "environment",
    "precision-mode": "environment",
    "host-software": "environment",
    "cpu-isa": "hardware",
    "gpu-architecture": "hardware",
    "hardware-fault": "hardware",
    "unknown": None,
}
