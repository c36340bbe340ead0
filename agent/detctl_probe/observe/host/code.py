"""Stage code: the command with logical paths, the source of the main script and of the user's modules that it has imported.

The modules are read when the first step begins; one that is imported later is not observed. The interpreter's version is a fact and
not a record.
"""

from __future__ import annotations

import os
import sys
from hashlib import blake2b
from types import ModuleType
from typing import Dict, List

from detctl_probe.digest.fingerprint import Fingerprint
from detctl_probe.process import commandline
from detctl_probe.process.callers import USER
from detctl_probe.recording.coverage import Observer
from detctl_probe.recording.recorder import Recorder

MODULES_MAX = 2000


def install(recorder: Recorder) -> None:
    """Records `command` and the main script; the paths of a command are replaced by their logical names."""
    row = recorder.observer("code", "code")
    _record_main(recorder, row)
    main, recorded_in = os.getpid(), 0

    def begun() -> None:
        nonlocal recorded_in
        if recorded_in != os.getpid():
            recorded_in = os.getpid()
            with recorder.working("code"):
                if recorded_in != main:  # a forked child that trains: its parent's records belong to the parent
                    _record_main(recorder, row)
                _record_modules(recorder, row)

    recorder.at_step_start(begun)


def _record_main(recorder: Recorder, row: Observer) -> None:
    command = commandline.own()
    arguments = canonical(recorder, command)
    text = "\0".join(arguments).encode("utf-8", "surrogateescape")
    fingerprint = Fingerprint(blake2b(text, digest_size=16).digest(), "py:command", (len(arguments),))
    recorder.record("code", "command", fingerprint, evidence={"command": arguments})
    row.fired += 1
    path = source(command)
    if path is not None:
        _record_file(recorder, row, _name(recorder, path), path)


def _record_modules(recorder: Recorder, row: Observer) -> None:
    main = source(commandline.own())
    found = {site: path for site, path in modules(recorder).items() if main is None or not os.path.samefile(path, main)}
    for site in sorted(found)[:MODULES_MAX]:
        _record_file(recorder, row, site, found[site])


def _record_file(recorder: Recorder, row: Observer, site: str, path: str) -> None:
    with open(path, "rb") as file:
        content = file.read()
    fingerprint = Fingerprint(blake2b(content, digest_size=16).digest(), "py:source", (len(content),))
    recorder.record("code", site, fingerprint, evidence={"path": os.path.abspath(path)})
    row.fired += 1


def modules(recorder: Recorder) -> Dict[str, str]:
    """Site -> path of the user's own modules: `{cwd}/models/net.py`, or by its name `models/net.py` if no declared place holds it."""
    found = {}
    for name, module in list(sys.modules.items()):
        if not isinstance(module, ModuleType):
            continue
        # A lazy module would be loaded by any other look at it.
        file = object.__getattribute__(module, "__dict__").get("__file__")
        if (
            isinstance(file, str)
            and file.endswith(".py")
            and recorder.callers.kind(file) == USER
            and os.path.isfile(file)
        ):
            logical = recorder.logical(os.path.abspath(file))
            found[logical if logical.startswith("{") else name.replace(".", "/") + ".py"] = file
    return found


def canonical(recorder: Recorder, command: commandline.Command) -> List[str]:
    """The arguments that are compared: "python" for any interpreter, logical names for paths under declared places."""
    if command.spawned:
        return ["python", "-c", command.target.partition(" import ")[0]]  # the rest are descriptor numbers
    if command.kind == commandline.SCRIPT:
        head = ["python", _name(recorder, command.target)]
    elif command.kind == commandline.MODULE:
        head = ["python", "-m", command.target]
    elif command.kind == commandline.CODE:
        head = ["python", "-c", command.target]
    else:
        head = ["python"]
    return head + [_logical(recorder, word) for word in command.arguments]


def source(command: commandline.Command) -> "str | None":
    """The file of the main program, or None where there is none to read."""
    if command.kind == commandline.SCRIPT:
        path = command.target
        if os.path.isdir(path):
            path = os.path.join(path, "__main__.py")
        return path if os.path.isfile(path) else None
    if command.kind == commandline.MODULE:
        # Found by name alone: importing its parents here would run the user's code too early.
        base = os.path.join(*command.target.split("."))
        for path in (base + ".py", os.path.join(base, "__main__.py")):
            if os.path.isfile(path):
                return path
    return None


def _name(recorder: Recorder, path: str) -> str:
    logical = recorder.logical(os.path.abspath(path))
    return logical if logical.startswith("{") else os.path.basename(path)


def _logical(recorder: Recorder, word: str) -> str:
    name, equals, value = word.partition("=")
    if equals and name.startswith("-") and "/" in value:
        return name + equals + _place(recorder, value)
    return _place(recorder, word) if "/" in word and not word.startswith("-") else word


def _place(recorder: Recorder, value: str) -> str:
    logical = recorder.logical(os.path.abspath(value))
    return logical if logical.startswith("{") else value
