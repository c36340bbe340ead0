"""Shows the progress of an audit on stderr: a live table on a terminal, a few lines elsewhere."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self

from detctl_proto.recordings.run_labels import parse_label

from detctl_cli.output.clean import clean
from detctl_cli.output.times import count
from detctl_cli.reporters.run_names import short_names

if TYPE_CHECKING:
    from detctl_proto.v1.audits_pb2 import AuditProgress
    from rich.live import Live

ROWS_MAX = 24
_ORDER = ("running", "assigned", "waiting", "sealed", "failed", "cancelled")
_STYLE = {"running": "cyan", "sealed": "green", "failed": "red", "cancelled": "yellow"}


class Progress:
    """A context manager. `update` takes messages of WatchAudit, and `log` writes one line."""

    def __init__(self, stream: IO[str] | None = None, *, quiet: bool = False) -> None:
        """quiet: nothing is shown but the lines of `log`."""
        self._stream = sys.stderr if stream is None else stream
        self._quiet = quiet
        self._live: Live | None = None
        self._reported: dict[str, str] = {}
        self._started = False

    def __enter__(self) -> Self:
        if not self._quiet and self._stream.isatty():
            from rich.console import Console
            from rich.live import Live

            # transient: what stays on the screen is the verdict.
            self._live = Live(console=Console(file=self._stream), transient=True, refresh_per_second=8)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def log(self, text: str) -> None:
        """Writes one line, whatever else is shown."""
        if self._live is not None:
            self._live.console.print(f"detctl: {text}", markup=False, highlight=False)
        else:
            self._stream.write(f"detctl: {text}\n")
            self._stream.flush()

    def update(self, progress: AuditProgress) -> None:
        """Shows the state. Without a terminal, it logs what is new: the start, failed runs, the comparison and reruns."""
        if self._quiet:
            return
        if self._live is not None:
            self._live.update(progress_table(progress))
            return
        if not self._started:
            self._started = True
            machines = {run.machine for run in progress.runs}
            where = f"{len(machines)} machine{'' if len(machines) == 1 else 's'}"
            self.log(f"audit {clean(progress.audit_id)} has {_runs(len(progress.runs))} on {where}")
        for run in progress.runs:
            if run.state == "failed" and self._reported.get(run.run_id) != run.message:
                self._reported[run.run_id] = run.message
                self.log(f"{clean(run.label)} failed: {clean(run.message or 'no reason given')}")
        if progress.state == "comparing" and "comparing" not in self._reported:
            self._reported["comparing"] = ""
            self.log("all runs have ended; comparing them")
        kinds = Counter(label.kind for run in progress.runs if (label := parse_label(run.label)))
        zoom = kinds["zoom"]
        if zoom and "zoom" not in self._reported:
            self._reported["zoom"] = ""
            self.log(f"rerunning the first divergent step at level op ({_runs(zoom)})")
        trials = kinds["experiment"]
        if trials and self._reported.get("trials") != str(trials):
            self._reported["trials"] = str(trials)
            why = f": {clean(progress.trying)}" if progress.trying else ""
            self.log(f"running {trials} experiment{'s' * (trials > 1)}{why}")


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """Yields a function that takes (done, of) and shows a bar on a terminal, and nothing in a pipe."""
    if not sys.stderr.isatty():
        yield lambda done, of: None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(file=sys.stderr), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)


def progress_table(progress: AuditProgress) -> Any:
    """Returns the live table: totals, and a row for each run. If there are many runs, the active ones come first."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    names = short_names([clean(run.label) for run in progress.runs])
    states = Counter(run.state for run in progress.runs)
    totals = ", ".join(f"{states[word]} {word}" for word in _ORDER if states[word])
    rate = f"   {count(progress.fingerprints_per_s)} fingerprints/s" if progress.fingerprints_per_s else ""
    title = f"audit {clean(progress.audit_id)}   {totals}{rate}"
    table = Table(
        box=box.SIMPLE_HEAD,
        title=Text(title),
        title_justify="left",
        caption=Text(clean(progress.message)),
        caption_justify="left",
        pad_edge=False,
    )
    for column in ("run", "state", "step", "fingerprints", ""):
        table.add_column(column, justify="right" if column in ("step", "fingerprints") else "left")
    runs = list(progress.runs)
    if len(runs) > ROWS_MAX:
        rank = {word: number for number, word in enumerate(("running", "failed", "assigned", "waiting"))}
        runs = sorted(runs, key=lambda run: rank.get(run.state, len(rank)))[:ROWS_MAX]
    for run in runs:
        again = f"attempt {run.attempt}" if run.attempt > 1 else ""
        text = "; ".join(part for part in (again, clean(run.message)) if part)
        table.add_row(
            Text(names[clean(run.label)]),
            Text(clean(run.state), style=_STYLE.get(run.state, "")),
            str(run.step),
            count(run.records),
            Text(text, style="dim", overflow="ellipsis", no_wrap=True),
        )
    if len(progress.runs) > len(runs):
        table.add_row(f"and {len(progress.runs) - len(runs)} more", "", "", "", "")
    return table


def _runs(number: int) -> str:
    return "1 run" if number == 1 else f"{number} runs"
