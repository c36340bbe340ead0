"""Writes the output of a training to a file, with a limit, and shows it live if somebody watches."""

from __future__ import annotations

import os
import re
from pathlib import Path

from detctl_proto.limits import OUTPUT_LINE_CHARS_MAX
from detctl_proto.security.redaction import redact_output
from detctl_proto.syntax.clean_text import clean_text

from detctl_agent.state.run_folder import disk_error

READ_BYTES = 64 * 1024
TAIL_BYTES = 8 * 1024  # a private key of several lines fits, so that it is recognised as a whole
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class OutputCapture:
    """One stream of output. `show` is a descriptor that gets a copy, or None."""

    def __init__(self, source: int, target: Path, limit_bytes: int, show: int | None = None) -> None:
        self._source, self._target, self._limit, self._show = source, target, limit_bytes, show
        try:
            self._file = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise disk_error(error, target.parent) from error
        self._written = 0
        self._tail = b""
        self.read_bytes = 0
        self.over_limit = False
        self.open = True

    def read(self) -> bool:
        """Reads once; False if nothing is there now. Raises DiskFullError or AgentError when the file cannot grow."""
        try:
            data = os.read(self._source, READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self.open = False
            return False
        self.read_bytes += len(data)
        self._tail = (self._tail + data)[-TAIL_BYTES:]
        if self._show is not None:
            self._pass_on(data)
        if self._written + len(data) > self._limit:
            self.over_limit = True
            data = data[: self._limit - self._written]
        self._write(data)
        return True

    def last_line(self) -> str:
        """The last complete line for display, cut and without credentials and control characters; "" if there is none.

        A line that is still being written is left out: half a token would not be recognised as one."""
        tail = self._tail.replace(b"\r", b"\n")  # a progress bar replaces its line
        whole, _, _ = tail.rpartition(b"\n")
        if self.read_bytes > TAIL_BYTES:
            _, _, whole = whole.partition(b"\n")
        lines = redact_output(_COLOURS.sub("", whole.decode("utf-8", "replace"))).splitlines()
        cleaned = (clean_text(line).strip() for line in reversed(lines))
        return next(filter(None, cleaned), "")[:OUTPUT_LINE_CHARS_MAX]

    def close(self) -> None:
        """Closes the file."""
        os.close(self._file)
        self.open = False

    def hide(self) -> None:
        """Stops showing: what a training prints when it is ended on purpose only goes to the file."""
        self._show = None

    def discard(self) -> None:
        """Keeps reading, so that the training is never blocked, but stores nothing, because the disk is full."""
        self._limit = self._written

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                count = os.write(self._file, view)
            except OSError as error:
                self.discard()
                raise disk_error(error, self._target.parent) from error
            self._written += count
            view = view[count:]

    def _pass_on(self, data: bytes) -> None:
        assert self._show is not None
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._show, view) :]
        except OSError:
            self._show = None  # nobody watches any more; the file goes on
