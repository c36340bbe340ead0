"""From the command line of `detctl audit` to the request of the contract."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from dataclasses import dataclass

from detctl_proto.levels import DEFAULT_LEVEL
from detctl_proto.limits import TWINS_DEFAULT
from detctl_proto.v1 import audits_pb2

from detctl_cli.audits.window import assignment_of, requested_window


@dataclass(frozen=True)
class AuditOptions:
    """What the flags said; recipe and machines come from elsewhere in local mode."""

    twins: int = TWINS_DEFAULT
    steps: str | None = None
    to_end: bool = False
    environments: tuple[str, ...] = ()
    set_: tuple[str, ...] = ()
    vary: tuple[str, ...] = ()
    level: str = DEFAULT_LEVEL
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
    start, end = requested_window(options.steps, options.to_end)
    return audits_pb2.AuditRequest(
        recipe=recipe,
        machines=machines,
        environments=options.environments,
        twins=options.twins,
        step_from=start,
        step_to=end or 0,
        to_end=end is None,
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


def _variation(option: str, text: str) -> audits_pb2.Variation:
    name, values = assignment_of(option, text)
    return audits_pb2.Variation(name=name, values=values)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""
