"""Rules on the source of a program. Each yields findings, and leaves out what is harmless."""

from __future__ import annotations

from detctl_cli.doctor.finding import Finding
from detctl_cli.doctor.rules import flags, generators, hashes, identity, listings, loaders, transforms
from detctl_cli.doctor.source import Program

RULES = (
    listings.unsorted_listings,
    generators.unseeded_modules,
    generators.unseeded_generators,
    identity.identity_seeds,
    hashes.set_order,
    hashes.string_hash,
    loaders.worker_seeding,
    loaders.workers_by_machine,
    flags.deterministic_algorithms,
    flags.risky_switches,
    transforms.random_transforms,
)


def check_program(program: Program) -> list[Finding]:
    """Returns the findings of all rules on a program."""
    return [finding for rule in RULES for finding in rule(program)]
