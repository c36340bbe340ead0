"""Goes on with experiments after a verdict whose causes are only indicated, within a time budget. Ctrl-C keeps the verdict."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from detctl_proto.limits import EXPERIMENTS_DEFAULT
from detctl_proto.v1 import audits_pb2

from detctl_cli.errors import CliError
from detctl_cli.exits import Exit, exit_of_verdict
from detctl_cli.output.clean import clean
from detctl_cli.output.terminal import note
from detctl_cli.progress.progress import Progress

if TYPE_CHECKING:
    from detctl_cli.service.client import Coordinator

CONFIRM_WITHIN_S = 300.0  # in a terminal
RUNS_MIN = 2  # the first experiment makes all settings equal, and compares two runs


@dataclass(frozen=True)
class Confirmation:
    """within_s: the time budget. budget_runs: largest number of runs, None for the default. first_verdict: whether the indicated
    verdict is printed before the experiments. quiet: nothing is written to stderr."""

    within_s: float
    budget_runs: int | None = None
    quiet: bool = False
    first_verdict: bool = True


def is_unconfirmed(verdict: Mapping[str, Any]) -> bool:
    """Returns whether experiments could still confirm a cause of this verdict."""
    return verdict.get("outcome") == "different" and not (verdict.get("explained") or verdict.get("experiments"))


def runs_within(confirmation: Confirmation, elapsed_s: float, runs: int) -> int:
    """Returns how many experiment runs fit the budgets, if `runs` runs took `elapsed_s`."""
    fits = int(confirmation.within_s / max(elapsed_s / max(runs, 1), 0.1))
    return min(fits, confirmation.budget_runs or EXPERIMENTS_DEFAULT)


def confirm(
    coordinator: Coordinator,
    audit_id: str,
    wait_s: float,
    verdict: dict[str, Any],
    confirmation: Confirmation,
    elapsed_s: float,
    report: Callable[..., Exit],
    follow: Callable[..., dict[str, Any]],
) -> Exit:
    """Reports the verdict, and again with the results of experiments if they finish in time. Returns the last one's exit code.

    elapsed_s: how long the audit took up to this verdict. report: prints a verdict; goes_on: experiments follow.
    follow: shows progress up to the next one.
    """

    def log(text: str) -> None:
        if not confirmation.quiet:
            note(text)

    again = f"detctl explain {clean(audit_id)}"
    first = confirmation.first_verdict
    if first:
        report(verdict, goes_on=True)

    def stands(why: str, hint: str = f"{again} continues") -> Exit:
        log(f"{why}; {'the verdict above stands' if first else 'the verdict stands'}; {hint}")
        return exit_of_verdict(verdict) if first else report(verdict)

    expired = threading.Event()
    try:
        runs = len(coordinator.runs(audits_pb2.ListRequest(audit_id=audit_id, limit=1000)).runs)
        each_s = elapsed_s / max(runs, 1)
        budget = runs_within(confirmation, elapsed_s, runs)
        if budget < RUNS_MIN:
            return stands(
                f"the causes are not confirmed, because a run takes about {each_s:.0f} s and experiments may take"
                f" {confirmation.within_s:.0f} s (--confirm-within)"
            )
        log(
            f"confirming the causes by experiment: at most {budget} runs of about {each_s:.0f} s within"
            f" {confirmation.within_s:.0f} s; Ctrl-C ends this and keeps the verdict"
        )
        coordinator.explain(audits_pb2.ExplainRequest(audit_id=audit_id, budget_runs=budget))

        def end() -> None:
            expired.set()
            with suppress(CliError):
                coordinator.cancel(audit_id)

        timer = threading.Timer(confirmation.within_s, end)
        timer.daemon = True
        timer.start()
        try:
            found = dict(follow(coordinator, audit_id, wait_s, _Trials(quiet=confirmation.quiet), ENDING))
        finally:
            timer.cancel()
    except KeyboardInterrupt:
        return stands("the experiments were interrupted")
    except CliError as problem:
        if expired.is_set():
            return stands(f"the experiments did not finish within {confirmation.within_s:.0f} s")
        return stands(f"the experiments failed: {clean(problem.message)}")
    if is_unconfirmed(found):
        return stands(f"the experiments did not finish within {confirmation.within_s:.0f} s")
    if not found.get("experiments"):
        return stands(
            "no experiment can test this difference", "it takes at least two complete twins of each configuration"
        )
    return report(found)


ENDING = "ending the experiments of audit"


class _Trials(Progress):
    """Progress that also logs above a live table what each round of experiments is for."""

    _trying = ""

    def update(self, progress: audits_pb2.AuditProgress) -> None:
        if self._live is not None and progress.trying and progress.trying != self._trying:
            self._trying = progress.trying
            self.log(f"trying: {clean(progress.trying)}")
        super().update(progress)
