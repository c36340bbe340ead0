"""What the compared runs were: when, where and what they ran, and digests of their source files. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from detctl_proto.verdict_words import StageWord

from detctl_coordinator.attribution.case import Case
from detctl_coordinator.attribution.evidence.facts import value_at
from detctl_coordinator.attribution.verdict.coverage import stage_word
from detctl_coordinator.comparison.reader import DamagedError, RunReader
from detctl_coordinator.domain.fingerprint import Phase, Stage, StreamKey
from detctl_coordinator.domain.verdict import ComparedRun

LISTED_MAX = 64
FILES_MAX = 256
STEPS_MAX = 4  # main script and modules are recorded before the window and in its first step
CHAINS = (Stage.INIT, Stage.BATCH, Stage.LOSS, Stage.UPDATE)
SOURCE = "py:source"
VERSIONS = {
    "python": ("python", "version"),
    "torch": ("torch", "version"),
    "cuda": ("torch", "cuda"),
    "cudnn": ("torch", "cudnn"),
    "detctl": ("python", "packages", "detctl"),
}


def runs_of(case: Case) -> list[ComparedRun]:
    """Returns the facts of at most LISTED_MAX runs, in the order of the request."""
    return [_compared_run(case, reader) for reader in case.request.readers[:LISTED_MAX]]


def _compared_run(case: Case, reader: RunReader) -> ComparedRun:
    run = reader.run
    manifest: Mapping[str, Any] = case.facts(reader).manifest if reader in case.comparable else {}
    command = value_at(manifest, "recipe", "command")
    versions = {name: value_at(manifest, *keys) for name, keys in VERSIONS.items()}
    return ComparedRun(
        label=case.label(reader),
        run_id=run.spec.run_id,
        created_unix_s=run.created_unix_s,
        wall_s=run.outcome.wall_s if run.outcome else 0.0,
        beside=run.outcome.beside if run.outcome else 0,
        machine=run.spec.arm.machine,
        host=_text(value_at(manifest, "machine", "hostname")),
        command=[str(word) for word in command] if isinstance(command, list) else [],
        commit=_text(value_at(manifest, "recipe", "git_commit")),
        source_digest=_text(value_at(manifest, "recipe", "source_digest")),
        versions={name: _text(value) for name, value in versions.items() if _text(value)},
        chains=_chains(reader) if reader in case.comparable else {},
    )


def _chains(reader: RunReader) -> dict[StageWord, str]:
    seal = reader.seals().get(0)
    streams = sorted(seal.streams, key=lambda stream: stream.key) if seal is not None else []
    return {
        stage_word(stream.key.stage): stream.chain.hex()
        for stream in streams
        if stream.key.stage in CHAINS and stream.key.phase is Phase.TRAIN
    }


def sources_of(case: Case) -> dict[str, list[str]]:
    """Returns file -> the distinct digests (BLAKE2b, 16 bytes, hexadecimal) that the runs recorded of it."""
    found: dict[str, dict[str, None]] = {}
    for reader in case.comparable[:LISTED_MAX]:
        try:
            _add_sources(reader, found)
        except DamagedError:
            continue  # the verdict reports the damage
    return {site: list(digests) for site, digests in sorted(found.items())}


def _add_sources(reader: RunReader, found: dict[str, dict[str, None]]) -> None:
    key = StreamKey(0, Stage.CODE, Phase.TRAIN)
    count = reader.streams().get(key, 0)
    for entry in reader.entries(key, 0, min(count, STEPS_MAX)) if count else ():
        for record in reader.records(key, entry.step):
            if record.dtype == SOURCE and (record.site in found or len(found) < FILES_MAX):
                found.setdefault(record.site, {})[record.digest.hex()] = None


def _text(value: object) -> str:
    return str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
