"""Shows on stderr what a command is doing: a live table on a terminal, and a few lines and a heartbeat elsewhere.

The lines are made in view.py and table.py; this module only keeps the time and writes.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self

from detctl_proto.heartbeat import clock, heartbeat_s

if TYPE_CHECKING:
    from detctl_proto.v1.audits_pb2 import AuditProgress
    from rich.live import Live

    from detctl_cli.progress.view import AuditView, Paces

REFRESHES_PER_S = 8
LOOK_S = 0.2  # between two looks whether a line is due
LONG_S = 0.6  # a stage that may be short gets its line after this time


class Progress:
    """A context manager, which may be entered again inside itself. `stage` and `update` show what happens, and `log` writes one line."""

    def __init__(
        self,
        stream: IO[str] | None = None,
        *,
        quiet: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """quiet: nothing is shown but the lines of `log`."""
        self._stream = sys.stderr if stream is None else stream
        self._quiet = quiet
        self._monotonic = monotonic
        self._began = self._wrote_at = self._seen_at = monotonic()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._live: Live | None = None
        self._heart: threading.Thread | None = None
        self._stage, self._done, self._of = "", 0, 0
        self._due: float | None = None  # when the stage gets its line
        self._view: AuditView | None = None
        self._paces: Paces | None = None
        self._together = False  # whether the line about runs side by side was written
        self._depth = 0

    def __enter__(self) -> Self:
        self._depth += 1
        if self._depth > 1 or self._quiet:
            return self
        self._over.clear()
        if self._stream.isatty():
            from rich.console import Console
            from rich.live import Live

            # transient: what stays on the screen is the verdict.
            self._live = Live(
                console=Console(file=self._stream), get_renderable=self._rendered, transient=True,
                refresh_per_second=REFRESHES_PER_S, redirect_stdout=False,
            )  # fmt: skip
            self._live.start()
        else:
            self._heart = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
            self._heart.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._depth -= 1
        if not self._depth:
            self.stop()

    def stop(self) -> None:
        """Ends the live table and the heartbeat. Called before a result is printed; a second call does nothing."""
        self._over.set()
        if self._live is not None:
            live, self._live = self._live, None
            live.stop()
        if self._heart is not None:
            heart, self._heart = self._heart, None
            heart.join()

    def log(self, text: str) -> None:
        """Writes one line, whatever else is shown."""
        if (live := self._live) is not None:
            live.console.print(f"detctl: {text}", markup=False, highlight=False, soft_wrap=True)
            return
        with self._lock:
            self._write(text)

    def stage(self, text: str, done: int = 0, of: int = 0) -> None:
        """Shows what the command does before and after an audit. done, of: how far it is; of is 0 if that is unknown."""
        if self._set_stage(text, done, of) and not self._quiet and self._live is None:
            self.log(text)

    def short_stage(self, text: str, done: int = 0, of: int = 0) -> None:
        """Like `stage`, for what usually takes no time: a pipe gets the line only if it takes long."""
        if self._set_stage(text, done, of):
            self._due = self._monotonic() + LONG_S

    def _set_stage(self, text: str, done: int, of: int) -> bool:
        is_new = text != self._stage
        self._stage, self._done, self._of = text, done, of
        if is_new:
            self._due = None
        return is_new

    def update(self, progress: AuditProgress) -> None:
        """Shows the state of an audit."""
        if self._quiet:
            return
        from detctl_cli.progress.view import Paces, news, view_of

        now = self._monotonic()
        if self._paces is None:
            self._paces = Paces()
        self._due = None
        before, view = self._view, view_of(progress, self._paces, now)
        self._view, self._seen_at = view, now
        if view.together and not self._together:
            self._together = True
            self.log(view.together)
        if self._live is None:
            for line in news(before, view):
                self.log(line)

    def _rendered(self) -> Any:
        from rich.console import Group

        from detctl_cli.progress.table import audit_lines, stage_line

        console = self._live.console if self._live is not None else None
        if console is None:
            return ""
        now = self._monotonic()
        plain = console.options.ascii_only
        elapsed_s = now - self._began
        if self._view is not None:
            lines = audit_lines(
                self._view, console.width, console.height, since_s=now - self._seen_at, elapsed_s=elapsed_s, plain=plain
            )
        else:
            done, of = self._done, self._of
            lines = [stage_line(self._stage, console.width, elapsed_s, done=done, of=of, plain=plain, timed=True)]
        return Group(*lines)

    def _beat(self) -> None:
        every_s = heartbeat_s()
        while not self._over.wait(min(LOOK_S, every_s)):
            now = self._monotonic()
            with self._lock:
                if self._over.is_set():
                    return
                if self._due is not None and now >= self._due:
                    self._due = None
                    self._write(self._stage)
                elif now - self._wrote_at >= every_s:
                    self._write(f"{clock(now - self._began)}: {self._situation()}")

    def _situation(self) -> str:
        if self._view is not None:
            from detctl_cli.progress.view import heartbeat

            return heartbeat(self._view)
        far = f" ({self._done} of {self._of})" if self._of else ""
        return f"{self._stage or 'working'}{far}"

    def _write(self, text: str) -> None:
        self._wrote_at = self._monotonic()
        self._stream.write(f"detctl: {text}\n")
        self._stream.flush()
