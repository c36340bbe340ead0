"""Works out how to repeat a recording: with its own folder, interpreter, variables and interventions. Pure but for looking at paths."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detctl_proto.interventions import INTERVENTIONS, TRANSPLANTS, VALUES
from detctl_proto.security.redaction import MARK
from detctl_proto.security.variable_rules import is_withheld

from detctl_cli.recordings.folder import Recording
from detctl_cli.recordings.labels import is_volatile

# What the recorder itself sets for each run; their recorded values name folders that no longer exist.
_OWN_PLACES = ("{run}", "{runtime}")


@dataclass(frozen=True)
class FactNotSet:
    """A fact of a recording that a replay could not have. here: what the replay had instead; empty: nothing."""

    recording: str
    fact: str
    recorded: str
    here: str = ""

    def to_dict(self) -> dict[str, str]:
        """Returns the fields as JSON values."""
        return {"recording": self.recording, "fact": self.fact, "recorded": self.recorded, "here": self.here}


@dataclass(frozen=True)
class Replay:
    """How a recording is repeated. folder: the working folder; could_not_set: facts that are known to be missing before it starts."""

    command: tuple[str, ...]
    folder: Path
    environ: Mapping[str, str]
    interventions: Mapping[str, str]
    could_not_set: tuple[FactNotSet, ...] = ()


def replay_of(recording: Recording, caller: Mapping[str, str], cwd: Path) -> Replay:
    """Returns how to repeat a recording from a shell with these variables in this folder.

    Variables whose values are recorded get them, and those that the recording lacks are removed. A variable whose value was
    not recorded keeps the caller's value.
    """
    missing: list[FactNotSet] = []

    def lacks(fact: str, recorded: object, here: str = "") -> None:
        missing.append(FactNotSet(str(recording.folder), fact, str(recorded), here))

    command = tuple(recording.run["command"])
    folder = cwd
    recorded_folder = recording.run.get("folder") or ""
    if recorded_folder and Path(recorded_folder).is_dir():
        folder = Path(recorded_folder)
    elif recorded_folder:
        lacks("folder", recorded_folder, str(cwd))
    environ = _variables(recording.manifest, caller)
    if shutil.which(command[0], path=environ.get("PATH")) is None and shutil.which(command[0], path=caller.get("PATH")):
        lacks("variables.PATH", environ.get("PATH", ""), caller.get("PATH", ""))
        environ["PATH"] = caller.get("PATH", "")
    command = (_program(recording.manifest, command[0], environ, lacks), *command[1:])
    interventions = {}
    for name, value in _texts(recording.run.get("interventions")).items():
        if name == VALUES:  # it changes nothing; a zoom asks for the values that it needs
            continue
        known = name in INTERVENTIONS and name not in TRANSPLANTS and INTERVENTIONS[name].accepts(value)
        if known:
            interventions[name] = value
        else:
            lacks(f"intervention {name}", value)
    return Replay(command, folder, environ, interventions, tuple(missing))


def _variables(manifest: Mapping[str, Any], caller: Mapping[str, str]) -> dict[str, str]:
    recorded = _texts(manifest.get("variables"))
    if not recorded:  # an older recording, or one of another tool
        return dict(caller)
    # Trainings never get detctl's own variables and secrets, but the recorder may need them.
    environ = {
        name: value
        for name, value in caller.items()
        if name in recorded or name.startswith("DETCTL_") or is_withheld(name)
    }
    for name, value in recorded.items():
        if "\0" in name + value or "=" in name or name.startswith("DETCTL_"):
            continue
        if name == "PYTHONPATH":  # the recorder puts the probe in front of it
            value = os.pathsep.join(
                part for part in value.split(os.pathsep) if part and not part.startswith(_OWN_PLACES)
            )
        if MARK.search(value) or any(place in value for place in _OWN_PLACES):
            continue
        if value or name != "PYTHONPATH":
            environ[name] = value
        else:
            environ.pop(name, None)
    return environ


def _program(
    manifest: Mapping[str, Any], program: str, environ: Mapping[str, str], lacks: Callable[[str, object, str], None]
) -> str:
    """Returns the recorded interpreter if the program is a Python and it still exists, else the program as recorded."""
    python = manifest.get("python")
    recorded = python.get("executable") if isinstance(python, Mapping) else None
    if not isinstance(recorded, str) or not recorded or not Path(program).name.startswith("python"):
        return program
    here = os.path.abspath(shutil.which(program, path=environ.get("PATH")) or program)  # noqa: PTH100 - not resolved
    if recorded == here:
        return program
    if os.access(recorded, os.X_OK) and Path(recorded).is_file():
        return recorded
    lacks("python.executable", recorded, here)
    return program


def _texts(section: object) -> dict[str, str]:
    if not isinstance(section, Mapping):
        return {}
    return {str(name): value for name, value in section.items() if isinstance(value, str)}


def facts_that_differ(environment: object, labels: Mapping[str, str], pairs: Mapping[str, str]) -> list[FactNotSet]:
    """Returns the facts in which a replay differs from its recording; those in which the recordings differ come first.

    environment: fact -> configuration (a label without its twin) -> value, from a verdict. labels: label -> folder of each
    recording. pairs: label of a recording -> label of its replay.
    """
    if not isinstance(environment, Mapping):
        return []
    first: list[FactNotSet] = []
    rest: list[FactNotSet] = []
    for fact, values in environment.items():
        variable = str(fact).removeprefix("variables.")
        if not isinstance(values, Mapping) or fact in _ALWAYS_DIFFER or (variable != fact and is_volatile(variable)):
            continue
        value_of = {label: str(values.get(label.rpartition("/")[0]) or "") for label in (*pairs, *pairs.values())}
        recorded = [value_of[label] for label in pairs]
        for label, replayed in pairs.items():
            if value_of[label] != value_of[replayed]:
                row = FactNotSet(labels[label], str(fact), value_of[label], value_of[replayed])
                (first if len(set(recorded)) > 1 else rest).append(row)
    return first + rest


# A replay runs in a copy with caches of its own.
_ALWAYS_DIFFER = frozenset(
    ("variables.TMPDIR", "variables.TORCHINDUCTOR_CACHE_DIR", "variables.TRITON_CACHE_DIR", "recipe.in_place")
)
