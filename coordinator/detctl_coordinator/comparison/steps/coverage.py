"""Determines which stages a run recorded. A stage that one run could not record is not compared, and the verdict names it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from detctl_coordinator.comparison.reader import RunReader
from detctl_coordinator.domain.fingerprint import Stage

STAGES = {stage.word: stage for stage in Stage}


def observers(reader: RunReader) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """Yields (name, row) of every observer in the seals. Names repeat for several ranks."""
    for seal in reader.seals().values():
        rows = seal.detail.get("observers")
        if isinstance(rows, Mapping):
            yield from ((str(name), row) for name, row in rows.items() if isinstance(row, Mapping))


def blind_stages(reader: RunReader) -> dict[Stage, str]:
    """Returns the stages of which no observer worked, with the reason."""
    broken: dict[Stage, str] = {}
    working: set[Stage] = set()
    for name, row in observers(reader):
        stage = STAGES.get(str(row.get("stage", "")))
        if stage is None:
            continue
        if row.get("failed") or not row.get("installed", True):
            broken[stage] = f"{name}: {row.get('failed') or 'not installed'}"
        else:
            working.add(stage)
    return {stage: why for stage, why in broken.items() if stage not in working}


def unwatched_stages(reader: RunReader) -> set[Stage]:
    """Returns the stages of which a part was not recorded: an observer failed or was not installed, or a value could not be read."""
    names = {
        str(row.get("stage", "")) for _, row in observers(reader) if row.get("failed") or not row.get("installed", True)
    }
    for seal in reader.seals().values():
        names |= {str(row.get("stage", "")) for row in seal.detail.get("unobserved") or () if isinstance(row, Mapping)}
    return {STAGES[name] for name in names if name in STAGES}


def unobserved_parts(reader: RunReader) -> list[str]:
    """Returns lines such as `forward: compiled region of root1 (why)`, each once."""
    lines: dict[str, None] = {}
    for seal in reader.seals().values():
        for row in seal.detail.get("unobserved") or ():
            if isinstance(row, Mapping):
                why = f" ({row['why']})" if row.get("why") else ""
                lines[f"{row.get('stage', '?')}: {row.get('what', '?')}{why}"] = None
    return list(lines)
