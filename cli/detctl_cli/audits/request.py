"""From the command line of `detctl audit` to the request of the contract."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from dataclasses import dataclass

from detctl_proto.v1 import audits_pb2

from detctl_cli.audits.window import assignment_of, window_of
from detctl_cli.errors import UsageError

TWINS_DEFAULT = 3


@dataclass(frozen=True)
class AuditOptions:
    """What the flags said; recipe and machines come from elsewhere in local mode."""

    twins: int = TWINS_DEFAULT
    steps: str | None = None
    to_end: bool = False
    environments: tuple[str, ...] = ()
    set_: tuple[str, ...] = ()
    vary: tuple[str, ...] = ()
    level: str = "module"
    budget_share: float = 0.0
    zoom: bool = True
    explain: bool = False
    budget_runs: int = 0
    self_test: bool = False
    join_only: bool = False
    joiners: Sequence[str] = ()

    def given(self) -> list[tuple[str, list[str]]]:
        """Name and values of each --set and --vary."""
        return [assignment_of("--set", text) for text in self.set_] + [
            assignment_of("--vary", text) for text in self.vary
        ]

    def arms(self) -> int:
        """How many arms a machine has in one environment."""
        total = 1
        for text in self.vary:
            total *= len(assignment_of("--vary", text)[1])
        return total


def request_of(options: AuditOptions, recipe: str, machines: Sequence[str]) -> audits_pb2.AuditRequest:
    """The request. Raises UsageError for flags that are malformed or do not fit together."""
    if options.to_end and options.steps and window_of_open_end(options.steps) is None:
        raise UsageError("--steps A:B and --to-end exclude each other", "A: with --to-end begins at step A")
    start, end = 0, 0
    if options.steps:
        open_start = window_of_open_end(options.steps)
        start, end = (open_start, 0) if open_start is not None else window_of(options.steps)
    return audits_pb2.AuditRequest(
        recipe=recipe,
        machines=machines,
        environments=options.environments,
        twins=options.twins,
        step_from=start,
        step_to=end,
        to_end=options.to_end or (options.steps is not None and end == 0),
        level=options.level,
        set=[_variation("--set", text) for text in options.set_],
        vary=[_variation("--vary", text) for text in options.vary],
        requested_by=_user(),
        budget_share=options.budget_share,
        no_zoom=not options.zoom,
        explain=options.explain,
        budget_runs=options.budget_runs,
        self_test=options.self_test,
        join_only=options.join_only,
        joiners=options.joiners,
    )


def window_of_open_end(text: str) -> int | None:
    """5 for `5:`, which means: from step 5 to the end; None for anything else."""
    return int(text[:-1]) if text.endswith(":") and text[:-1].isascii() and text[:-1].isdigit() else None


def _variation(option: str, text: str) -> audits_pb2.Variation:
    name, values = assignment_of(option, text)
    return audits_pb2.Variation(name=name, values=values)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""
