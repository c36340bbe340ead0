"""Labels of recorded folders. Folders of one machine with equal environment and command are twins, others are configurations."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from detctl_proto.recordings.run_labels import BASE, DEFAULT_ENVIRONMENT, RunLabel
from detctl_proto.security.redaction import DIGESTS, agree, variables_agree
from detctl_proto.syntax.names import to_name

from detctl_cli.recordings.folder import Recording

# These differ between any two shells and do not affect a training, or they are places (docs/adr/0010).
_VOLATILE = re.compile(
    r"(DETCTL_.*|PYTHONPATH|PWD|OLDPWD|HOME|TMPDIR|SHLVL|_|TERM|TERM_.*|COLORTERM|COLUMNS|LINES|WINDOWID|TTY|SSH_.*|XDG_.*"
    r"|DBUS_.*|DISPLAY|WAYLAND_.*|TMUX.*|STY|LS_COLORS|LESS.*|PAGER|EDITOR|HISTFILE|INVOCATION_ID|JOURNAL_STREAM"
    r"|PYTEST_CURRENT_TEST|SLURM_.*|MAIL|LOGNAME|USER)"
)


def is_volatile(name: str) -> bool:
    """Returns whether a variable differs between any two shells, or is a place."""
    return _VOLATILE.fullmatch(name) is not None


def labels_of(recordings: Sequence[Recording]) -> list[str]:
    """Returns a distinct machine/environment/variation/twin-N for each recording. Twins share the first three parts."""
    same_machine: dict[str, list[tuple[Any, list[int]]]] = {}
    for number, recording in enumerate(recordings):
        machine = _name(str(recording.run.get("machine") or "local"))
        facts = comparable_facts(recording)
        for known, members in same_machine.setdefault(machine, []):
            if _same(known, facts):
                members.append(number)
                break
        else:
            same_machine[machine].append((facts, [number]))
    labels = [""] * len(recordings)
    for machine, configurations in same_machine.items():
        taken: set[str] = set()
        for _, members in configurations:
            environment = DEFAULT_ENVIRONMENT
            if len(configurations) > 1:
                environment = _unlike(_name(recordings[members[0]].folder.resolve().name), taken)
                taken.add(environment)
            for twin, number in enumerate(members):
                labels[number] = str(RunLabel(machine, environment, BASE, "twin", twin))
    return labels


def _same(known: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
    """Returns whether facts agree. Values that were not recorded, and cannot be compared, do not count as different."""
    plain = [key for key in known if key not in ("command", "variables")]
    if any(known[key] != facts[key] for key in plain):
        return False
    commands = [json.dumps(side["command"]) for side in (known, facts)]
    ours, theirs = ({"variables": side["variables"], DIGESTS: side[DIGESTS]} for side in (known, facts))
    names = {**known["variables"], **facts["variables"]}
    return agree(*commands) is not False and all(variables_agree(name, ours, theirs) is not False for name in names)


def comparable_facts(recording: Recording) -> dict[str, Any]:
    """Returns what must agree for two recordings to be twins: command, variables, Python, packages and facts of torch."""
    manifest = recording.manifest
    variables = _mapping(manifest.get("variables"))
    python = _mapping(manifest.get("python"))
    return {
        "command": recording.run.get("command"),
        "interventions": recording.run.get("interventions"),
        "variables": {name: value for name, value in variables.items() if not _VOLATILE.fullmatch(name)},
        DIGESTS: _mapping(manifest.get(DIGESTS)),
        "python": [python.get("version"), python.get("packages")],
        "torch": manifest.get("torch"),
        "source": _mapping(manifest.get("recipe")).get("source_digest"),
    }


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _name(text: str) -> str:
    return to_name(text, "folder", 56)  # leaves room for a number


def _unlike(name: str, taken: set[str]) -> str:
    return next(option for option in [name, *(f"{name}-{n}" for n in range(2, 1000))] if option not in taken)
