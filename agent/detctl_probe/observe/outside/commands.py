"""Notes the commands that the user's own code starts (notes `command`): their programs, and a digest of the output that Python sees.

Only names of programs are kept, as arguments may hold secrets. Methods of subprocess.Popen are patched, not the class.
"""

from __future__ import annotations

import functools
import os
import re
import weakref
from hashlib import blake2b
from typing import Any, Callable, Dict, List, Tuple

from detctl_probe.observe.outside.user_reads import user_line
from detctl_probe.process.callers import PACKAGE
from detctl_probe.process.imports import when_imported
from detctl_probe.process.patching import Builtin
from detctl_probe.process.signals import from_signal
from detctl_probe.recording.recorder import Recorder

COMMANDS_MAX = 200
PROGRAMS_MAX = 8
OUTPUT_BYTES_MAX = 64 << 20
LINES_MAX = 1 << 18
_BETWEEN_COMMANDS = re.compile(r"\|\|?|&&|;|\n|\$\(|`")
_ASSIGNMENT = re.compile(r"^\w+=\S*$")
_WRAPPERS = ("env", "nice", "time", "sudo", "exec", "command", "xargs", "stdbuf", "timeout")
_LANGUAGES = ("awk", "gawk", "mawk", "perl", "ruby", "jot", "php", "lua", "Rscript", "node", "julia")
_LISTING = ("find", "fd", "fdfind", "du", "bfs")
_CALLS_RAND = re.compile(r"\brand\w*\b|\bshuffle\b|\bsample\b|Math\.random", re.IGNORECASE)
_DRAWING_OPTIONS = {"sort": ("-R", "--random-sort"), "openssl": ("rand",)}


def install(recorder: Recorder) -> None:
    """Patches Popen.__init__ and communicate, which subprocess.run and check_output use, and os.system."""
    commands = _Commands(recorder)
    system = os.system

    def systemed(command: Any) -> int:
        code = system(command)
        commands.safely(lambda: commands.note(command, True, user_line(recorder)))
        return code

    os.system = Builtin(system, systemed, "os", "system")
    when_imported("subprocess", commands.patch)


class _Commands:
    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.row = recorder.observer("commands", "code")
        self._count = 0
        # Running processes whose output Python may read: arguments, shell, place.
        self._running: "weakref.WeakKeyDictionary[Any, Tuple[Any, bool, Dict[str, Any]]]" = weakref.WeakKeyDictionary()

    def patch(self, module: Any) -> None:
        commands, owner = self, module.Popen
        start, communicate = owner.__init__, owner.communicate

        @functools.wraps(start)
        def init(self: Any, args: Any, *more: Any, **options: Any) -> None:
            start(self, args, *more, **options)
            commands.safely(lambda: commands.started(self, args, bool(options.get("shell", False))))

        @functools.wraps(communicate)
        def communicated(self: Any, *given: Any, **options: Any) -> Any:
            result = communicate(self, *given, **options)
            commands.safely(lambda: commands.ended(self, result[0]))
            return result

        owner.__init__ = init
        owner.communicate = communicated

    def safely(self, work: Callable[[], None]) -> None:
        recorder = self.recorder
        if recorder.busy or recorder.sealed or self._count >= COMMANDS_MAX:
            return
        try:
            with recorder.working("code"):
                work()
        except Exception as error:
            if from_signal(error):
                raise
            recorder.note("observer-failed", "commands: %s: %s" % (type(error).__name__, error))

    def started(self, process: Any, args: Any, shell: bool) -> None:
        callers = self.recorder.callers
        starter = callers.nearest(skip_stdlib=True, depth=2)
        if starter is not None and callers.kind(starter.f_code.co_filename) == PACKAGE:
            return  # its own command, as torch has one started while it is imported
        where = user_line(self.recorder)
        self.note(args, shell, where)
        if process.stdout is not None and where:
            self._running[process] = args, shell, where

    def ended(self, process: Any, output: Any) -> None:
        command = self._running.pop(process, None)
        if command is not None and output is not None:
            self.note(*command, output=output)

    def note(self, args: Any, shell: bool, where: Dict[str, Any], output: Any = None) -> None:
        if not where:
            return  # a package's own command
        self._count += 1
        self.row.fired += 1
        found, drawing = programs(args, shell)
        fields: Dict[str, Any] = {"programs": found, "drawing": drawing, **where}
        if lists_unsorted(args, shell):
            fields["unsorted"] = True
        if lists_by_time(args, shell):
            fields["by_time"] = True
        text = "%s is started"
        if output is not None:
            fields.update(digests(output))
            text = "the output of %s is read"
        self.recorder.note("command", text % (" | ".join(found) or "a command"), stage="code", **fields)


def programs(args: Any, shell: bool) -> Tuple[List[str], bool]:
    """(names of the programs, whether one of them draws at random by its options)."""
    parts = _parts(args, shell)
    names: List[str] = []
    drawing = False
    for name, arguments in parts:
        names.append(name[:64])
        seeded = any(word.startswith("--random-source") for word in arguments)
        options = _DRAWING_OPTIONS.get(name, ())
        drawing = drawing or (any(_has(word, option) for word in arguments[1:] for option in options) and not seeded)
        drawing = drawing or (name == "shuf" and not seeded)
        drawing = drawing or any("$RANDOM" in word or "/dev/urandom" in word for word in arguments)
    text = " ".join(" ".join(part) for _, part in parts)
    drawing = drawing or (any(name in _LANGUAGES for name in names) and _CALLS_RAND.search(text) is not None)
    return names[:PROGRAMS_MAX], drawing


def lists_unsorted(args: Any, shell: bool) -> bool:
    """Whether a command prints names in the order of the file system."""
    parts = _parts(args, shell)
    if any(name == "sort" for name, _ in parts):
        return False
    return any(
        name in _LISTING
        or (name == "ls" and any(_has(word, option) for word in arguments[1:] for option in ("-U", "-f")))
        for name, arguments in parts
    )


def lists_by_time(args: Any, shell: bool) -> bool:
    """Whether a command prints names in the order of the files' times."""
    return any(
        name == "ls" and any(_has(word, option) for word in arguments[1:] for option in ("-t", "-c", "-u"))
        for name, arguments in _parts(args, shell)
    )


def _parts(args: Any, shell: bool) -> List[Tuple[str, List[str]]]:
    """The programs of a command with their arguments, without assignments and wrappers."""
    if isinstance(args, (str, bytes, os.PathLike)):
        text = os.fsdecode(args)
        parts = [part.split() for part in _BETWEEN_COMMANDS.split(text)] if shell else [[text]]
    else:
        arguments = [os.fsdecode(word) for word in args]
        if len(arguments) > 2 and os.path.basename(arguments[0]) in ("sh", "bash") and arguments[1].endswith("c"):
            return _parts(arguments[2], True)
        parts = [arguments]
    found = []
    for arguments in parts:
        while arguments and (_ASSIGNMENT.match(arguments[0]) or os.path.basename(arguments[0]) in _WRAPPERS):
            arguments = arguments[1:]
        if arguments:
            found.append((os.path.basename(arguments[0]), arguments))
    return found


def _has(word: str, option: str) -> bool:
    if option.startswith("--") or not option.startswith("-"):
        return option in word
    return word.startswith("-") and not word.startswith("--") and option[1] in word


def digests(output: Any) -> Dict[str, Any]:
    """{"bytes", "digest", "lines", "unordered"}: of the output, and of its lines without their order."""
    raw = output.encode("utf-8", "surrogateescape") if isinstance(output, str) else bytes(output)
    fields: Dict[str, Any] = {"bytes": len(raw)}
    if len(raw) <= OUTPUT_BYTES_MAX:
        fields["digest"] = blake2b(raw, digest_size=8).hexdigest()
        lines = raw.splitlines()
        if len(lines) <= LINES_MAX:
            fields["lines"] = len(lines)
            fields["unordered"] = blake2b(b"\n".join(sorted(lines)), digest_size=8).hexdigest()
    return fields
