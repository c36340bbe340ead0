"""The options of `detctl audit`, by the panels of its help page. Other commands share some of the panels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import rich_click as click
from detctl_proto.levels import DEFAULT_LEVEL, LEVELS
from detctl_proto.limits import EXPERIMENTS_DEFAULT, PARALLEL_RUNS_MAX, RUNS_MAX, TWINS_DEFAULT, TWINS_MAX

from detctl_cli.audits.option_values import assignment_of, names, share_of
from detctl_cli.errors import UsageError
from detctl_cli.id_completion import complete_audit
from detctl_cli.option_groups import option
from detctl_cli.output.times import seconds_of

WAIT_S = 300


def split_names(ctx: click.Context, param: click.Parameter, value: str | None) -> list[str]:
    """Returns the names of an option's value, `a,b`."""
    return names(value)


def _share(ctx: click.Context, param: click.Parameter, value: str | None) -> float:
    return share_of(value)


def _duration(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    if value is None or value.strip() in ("0", "0s", "0m"):
        return None if value is None else 0.0
    try:
        return seconds_of(value)
    except ValueError as problem:
        raise UsageError(f"--confirm-within: {problem}") from None


@dataclass(frozen=True)
class WhatToRun:
    """Which trainings run, and how often."""

    PANEL: ClassVar[str] = "What to run"
    machines: list[str] = option(
        "--machines", metavar="A,B", callback=split_names, help="Names of the machines that train RECIPE."
    )
    environments: list[str] = option(
        "--environments",
        metavar="A,B",
        callback=split_names,
        help="Environments in the catalogs of the machines. Without this option, RECIPE runs in the one named default.",
    )
    twins: int = option(
        "--twins",
        metavar="N",
        type=click.IntRange(1, TWINS_MAX),
        default=TWINS_DEFAULT,
        show_default=True,
        help="Number of runs of each configuration on each machine.",
    )
    keep_going: bool = option(
        "--keep-going",
        is_flag=True,
        help="Start the remaining runs although one has failed. Without this option, the first failure stops the audit.",
    )
    dry_run: bool = option("--dry-run", is_flag=True, help="List the runs that the audit would start, and start none.")


@dataclass(frozen=True)
class Variation:
    """What is set for all runs, and what differs between configurations."""

    PANEL: ClassVar[str] = "Variation"
    set_: tuple[str, ...] = option(
        "--set",
        metavar="NAME=V",
        multiple=True,
        help="Set a parameter of the recipe, a variable (env:VAR=V) or an intervention (workers=0) for all runs. For a"
        " command after --, also an argument (arg:--lr=V).",
    )
    vary: tuple[str, ...] = option(
        "--vary",
        metavar="NAME=V,W",
        multiple=True,
        help="Compare these values of a parameter, a variable or an intervention. Each value is a configuration. For a"
        " command after --, also of an argument: arg:--lr=V,W sets an option, arg:3=V,W sets sys.argv[3].",
    )

    def given(self) -> list[tuple[str, list[str]]]:
        """Returns name and values of each --set and --vary. Raises UsageError."""
        return [assignment_of("--set", text) for text in self.set_] + [
            assignment_of("--vary", text) for text in self.vary
        ]

    def configurations(self) -> int:
        """Returns how many configurations one machine has in one environment."""
        total = 1
        for text in self.vary:
            total *= len(assignment_of("--vary", text)[1])
        return total


@dataclass(frozen=True)
class WhatToRecord:
    """Which steps are recorded, and in how much detail. `detctl record` has the same options."""

    PANEL: ClassVar[str] = "What to record"
    steps: str | None = option(
        "--steps",
        metavar="A:B",
        help="Record the steps from A up to, but not including, B. Without this option, 0:32 is recorded.",
    )
    to_end: bool = option("--to-end", is_flag=True, help="Record up to the end of the training.")
    level: str = option(
        "--level",
        metavar="LEVEL",
        type=click.Choice(LEVELS),
        default=DEFAULT_LEVEL,
        show_default=True,
        help="Level of detail: one fingerprint for each stage (step), each module and parameter (module) or each"
        " operation (op).",
    )
    budget_share: float = option(
        "--budget",
        metavar="SHARE",
        callback=_share,
        help="Share of the step time that recording may take, such as 2%. The most expensive stages are sampled less"
        " often until the budget is met.",
    )


@dataclass(frozen=True)
class Outcome:
    """What counts as a difference. `detctl compare` has the same option."""

    PANEL: ClassVar[str] = "Outcome"
    strict: bool = option(
        "--strict",
        is_flag=True,
        help="Count every difference in evaluation. Without this option, runs are identical if every update and every"
        " loss of the training agrees.",
    )


@dataclass(frozen=True)
class Diagnosis:
    """What detctl does on its own when runs diverge."""

    PANEL: ClassVar[str] = "Find out why"
    zoom: bool = option(
        "--zoom/--no-zoom",
        default=True,
        show_default=True,
        help="If computed values diverge, rerun that step at level op and name the operation.",
    )
    explain: bool = option(
        "--explain",
        is_flag=True,
        help="Confirm causes by experiment. This takes two more runs, and two for each setting that differs between"
        " the configurations.",
    )
    confirm_within_s: float | None = option(
        "--confirm-within",
        metavar="TIME",
        callback=_duration,
        help="Continue with experiments after a verdict whose causes are only indicated, for at most this time (such as"
        " 10m). 0 switches this off. The default is 5m in a terminal, and 0 elsewhere and with --json.",
    )


@dataclass(frozen=True)
class Experiments:
    """How many experiments run. `detctl explain` has the same options."""

    PANEL: ClassVar[str] = "Find out why"
    budget_runs: int | None = option(
        "--budget-runs",
        metavar="N",
        type=click.IntRange(1, RUNS_MAX),
        help=f"Largest number of additional runs that experiments may take. The default is {EXPERIMENTS_DEFAULT}.",
    )
    self_test: bool = option(
        "--self-test",
        is_flag=True,
        help="Check the audit itself: recording must not change the final weights, and planted faults must be found.",
    )


@dataclass(frozen=True)
class Joining:
    """Runs that users start themselves, with `detctl record --join`."""

    PANEL: ClassVar[str] = "Runs that you start yourself"
    join_only: bool = option(
        "--join-only",
        is_flag=True,
        help="Wait for `detctl record --join` on each machine instead of starting runs on agents. RECIPE is then only"
        " a name for the audit.",
    )
    joiners: list[str] = option(
        "--joiners",
        metavar="A,B",
        callback=split_names,
        help="With --join-only: names of the tokens of other users who may start these runs. You always may.",
    )


@dataclass(frozen=True)
class AuditOptions:
    """All options that become the request. The recipe is an argument, and in local mode it comes from the command."""

    runs: WhatToRun
    variation: Variation
    recording: WhatToRecord
    outcome: Outcome
    diagnosis: Diagnosis
    experiments: Experiments
    joining: Joining


@dataclass(frozen=True)
class Waiting:
    """How long to wait for a coordinator that does not answer."""

    PANEL: ClassVar[str] = "Waiting"
    wait_s: float = option(
        "--wait",
        metavar="SECONDS",
        type=click.FloatRange(0),
        default=WAIT_S,
        show_default=True,
        help="How long to keep trying if the coordinator stops answering.",
    )


@dataclass(frozen=True)
class CommandRuns:
    """How the runs of a command after `--` are made."""

    PANEL: ClassVar[str] = "Runs of a command after --"
    copy: bool = option(
        "--copy", is_flag=True, help="Give each run a private view of this folder. This is the default for twins."
    )
    in_place: bool = option("--in-place", is_flag=True, help="Start all runs in this folder itself.")
    keep_files: bool = option(
        "--keep-files",
        is_flag=True,
        help="Keep what each run writes into its private view, below .detctl/agent/runs. The default is to discard it.",
    )
    timeout_s: int | None = option(
        "--timeout",
        metavar="SECONDS",
        type=click.IntRange(1),
        help="End a run after this time. The default is one day.",
    )

    parallel: int | None = option(
        "--parallel",
        metavar="N",
        type=click.IntRange(1, PARALLEL_RUNS_MAX),
        help="Train N runs at a time; 1 trains them one after another. By default detctl measures the first run, and"
        " trains as many at a time as there are free processors and memory.",
    )

    def given(self) -> bool:
        """Returns whether any of these options was given."""
        return self.copy or self.in_place or self.keep_files or self.timeout_s is not None or self.parallel is not None


@dataclass(frozen=True)
class AuditWaiting(Waiting):
    """Whether the command waits for the verdict."""

    detach: bool = option(
        "--detach", is_flag=True, help="Start the audit, print its id and exit without waiting for the verdict."
    )
    attach: str | None = option(
        "--attach",
        metavar="AUDIT",
        shell_complete=complete_audit,
        help="Wait for an audit that was started before. Ctrl-C then detaches, and the audit continues.",
    )
