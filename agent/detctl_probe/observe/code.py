"""Stage code: the command with logical paths, and the source of the main script. The interpreter's version is a fact, no record."""

from __future__ import annotations

import os
from hashlib import blake2b
from typing import List

from detctl_probe import commandline
from detctl_probe.prints import Print
from detctl_probe.recorder import Recorder


def install(recorder: Recorder) -> None:
    """Records `command` and the main script; the paths of a command are replaced by their logical names."""
    row = recorder.observer("code", "code")
    command = commandline.own()
    words = canonical(recorder, command)
    text = "\0".join(words).encode("utf-8", "surrogateescape")
    print_ = Print(blake2b(text, digest_size=16).digest(), "py:command", (len(words),))
    recorder.record("code", "command", print_, evidence={"command": words})
    row.fired += 1
    path = source(command)
    if path is None:
        return
    with open(path, "rb") as file:
        content = file.read()
    print_ = Print(blake2b(content, digest_size=16).digest(), "py:source", (len(content),))
    site = _name(recorder, path)
    recorder.record("code", site, print_, evidence={"path": os.path.abspath(path)})
    row.fired += 1


def canonical(recorder: Recorder, command: commandline.Command) -> List[str]:
    """The words that are compared: "python" for any interpreter, logical names for paths under declared places."""
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
