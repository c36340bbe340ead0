"""The work of a job in its thread: fetch source and data, train, and write down the end."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from detctl_proto.recordings.side_by_side import SideBySide

from detctl_agent import logs, manifest
from detctl_agent.catalog.admission import Admitted, Order, admit
from detctl_agent.catalog.offers import Offers
from detctl_agent.catalog.places import Private
from detctl_agent.cluster.launching import Cluster
from detctl_agent.cluster.runner import ClusterRunner
from detctl_agent.errors import AgentError
from detctl_agent.jobs.job import Job
from detctl_agent.launcher.account import account_of
from detctl_agent.launcher.cgroup import Cgroups
from detctl_agent.manifest.known_answers import KnownAnswers
from detctl_agent.runs.inspection.digest_table import DigestTable
from detctl_agent.runs.inspection.inspect import with_inspection
from detctl_agent.runs.outcome import Outcome
from detctl_agent.runs.preparation import Prepared
from detctl_agent.runs.recipe_source import take_source
from detctl_agent.runs.recipe_training import prepare_recipe
from detctl_agent.runs.run_clock import RunClock
from detctl_agent.runs.run_document import note_end, run_json
from detctl_agent.runs.runner import Runner
from detctl_agent.source import source
from detctl_agent.source.overlay import Overlays, clear, keep_written
from detctl_agent.source.run_source import RunSource
from detctl_agent.state import copies
from detctl_agent.state.ownership import take_back
from detctl_agent.state.sockets import RuntimeFolder
from detctl_agent.state.state_folder import StateFolder

log = logs.logger("jobs")


@dataclass(frozen=True)
class JobOptions:
    """How an agent trains. parallel: number of runs at a time. inherit: start from the agent's own environment. answers: run the
    known-answer test in each environment. cluster: trains environments with an image; None: a container engine of this machine does.
    private: paths of the agent that no training may use. cgroups: enforce limits of trainings; None: there are none.
    overlays: which folders can be covered; None: each run gets a copy of its folder. only_kept_answers: the test itself never runs."""

    parallel: int = 1
    inherit: bool = False
    answers: bool = False
    cluster: Cluster | None = None
    private: Private = field(default_factory=Private)
    cgroups: Cgroups | None = None
    overlays: Overlays | None = None
    only_kept_answers: bool = False


class JobTraining:
    """Trains jobs; `train` is called in the job's thread. on_started, on_spooled and on_measured are called in `loop`."""

    def __init__(
        self,
        machine: str,
        offers: Offers,
        state: StateFolder,
        options: JobOptions,
        *,
        on_started: Callable[[Job], None],
        on_spooled: Callable[[Job], None],
        on_measured: Callable[[Job, SideBySide], None],
    ) -> None:
        self._machine, self._offers, self._state = machine, offers, state
        self._inherit, self._cluster, self._private = options.inherit, options.cluster, options.private
        self._cgroups, self._overlays = options.cgroups, options.overlays
        kept = state.root / "known-answers"
        self._answers = KnownAnswers(kept, only_kept=options.only_kept_answers) if options.answers else None
        self._on_started, self._on_spooled, self._on_measured = on_started, on_spooled, on_measured
        self._digests = DigestTable(state.root / "file-digests.json")
        # Fetches what a run kept into a folder. The connection sets it while it is open.
        self.fetch: Callable[[str, Path], Coroutine[Any, Any, None]] | None = None

    def train(self, job: Job, loop: asyncio.AbstractEventLoop) -> tuple[Outcome, Prepared | None]:
        """Trains the job; returns when its spool is closed. Raises RunRefusedError, SourceError, AgentError."""
        assert job.order is not None
        if job.stop is not None:
            return Outcome(end=job.stop[0], exit_code=0, message=job.stop[1]), None
        admitted = admit(self._offers.catalog, job.order)
        initial = run_json(self._machine, job.order, admitted.recipe.command)
        job.run.parameters, job.run.variation, job.run.label = initial.parameters, initial.variation, initial.label
        job.folder.forget_data()
        job.folder.create()
        job.clock = RunClock()
        job.run.started_unix_s = time.time()
        job.folder.write_run(job.run)
        if kept := job.order.interventions.get("transplant"):
            self._fetch_kept(kept.partition(":")[2], job.folder.given, loop)
        if self._cluster is not None and admitted.environment.image:
            return self._train_in(self._cluster, job, admitted, loop), None
        return self._train_here(job, admitted, loop)

    def may_share(self, order: Order | None) -> bool:
        """Whether the owner of its recipe allows other runs beside it, as soon as it is known that they fit."""
        recipe = self._offers.catalog.recipes.get(order.recipe) if order is not None else None
        return recipe is not None and recipe.side_by_side and order is not None and not order.alone

    def write_end(self, job: Job, outcome: Outcome, prepared: Prepared | None) -> None:
        """Writes run.json and the manifest with the outcome."""
        run = job.run
        note_end(run, outcome)
        if prepared is not None:
            job.manifest = manifest.with_observed(job.manifest, outcome.torch, prepared.shown, outcome.read)
            job.manifest = with_inspection(job.manifest, outcome, prepared, self._digests)
            before = None if outcome.end in ("disk-full", "lost") else prepared.source
            if before is not None and (wrote := source.changes(before)):
                run.message = "; ".join(part for part in (run.message, wrote) if part)
        if prepared is not None and prepared.plan.keep_files:
            self._keep_files(job, prepared)
        if prepared is not None and prepared.plan.view:
            clear(prepared.plan.view.scratch)
        take_back(job.folder)
        job.folder.clean_private()  # first, because it makes room on a full disk
        try:
            job.folder.write_manifest(job.manifest)
            job.folder.write_run(run)
        except AgentError as error:
            log.error(logs.line("run_json", run=job.key, why=str(error)))

    def _keep_files(self, job: Job, prepared: Prepared) -> None:
        try:
            shutil.rmtree(job.folder.written, ignore_errors=True)  # of an earlier attempt
            if prepared.plan.view:
                keep_written(prepared.plan.view.scratch, job.folder.written)
            elif job.folder.work.is_dir():
                job.folder.work.rename(job.folder.written)
        except OSError as error:
            job.run.message = "; ".join(
                part for part in (job.run.message, f"what it wrote could not be kept: {error}") if part
            )

    def _fetch_kept(self, run_id: str, folder: Path, loop: asyncio.AbstractEventLoop) -> None:
        if self.fetch is None:
            raise AgentError(
                f"what run {run_id} kept could not be fetched: the agent is not connected to its coordinator"
            )
        shutil.rmtree(folder, ignore_errors=True)  # of an earlier attempt
        asyncio.run_coroutine_threadsafe(self.fetch(run_id, folder), loop).result()

    def _take_source(self, job: Job, admitted: Admitted) -> RunSource:
        snapshot = self._offers.snapshot(admitted.order.recipe)
        return take_source(
            admitted,
            job.folder,
            trees=self._state.root / "git",
            inherit=self._inherit,
            snapshot=snapshot,
            overlays=self._overlays,
        )

    def _train_here(self, job: Job, admitted: Admitted, loop: asyncio.AbstractEventLoop) -> tuple[Outcome, Prepared]:
        account = account_of(admitted.user)
        if account:
            self._state.let_through()
        elif self._inherit and not admitted.recipe.runs_in_place:
            job.folder = replace(job.folder, common_work=copies.claim(self._state.root, admitted.recipe.folder))
        runtime = RuntimeFolder(job.folder.tmp, account=account)
        try:
            prepared = prepare_recipe(
                admitted,
                self._take_source(job, admitted),
                job.folder,
                runtime,
                machine=self._machine,
                inherit=self._inherit,
                answers=self._answers,
                private=self._private,
                account=account,
                clock=job.clock,
            )
            job.manifest = prepared.manifest
            job.folder.write_manifest(prepared.manifest)
            runner = Runner(
                prepared.plan,
                job.folder,
                runtime,
                cgroups=self._cgroups,
                on_started=lambda: self._started(job, loop),
                on_spooled=lambda: self._spooled(job, loop),
                clock=job.clock,
                on_measured=(lambda found: self._measured(job, found, loop)) if self.may_share(job.order) else None,
            )
        except BaseException:
            runtime.remove()
            raise
        return self._run(job, runner), prepared

    def _train_in(self, cluster: Cluster, job: Job, admitted: Admitted, loop: asyncio.AbstractEventLoop) -> Outcome:
        cluster.check(admitted)

        def started() -> None:
            job.manifest = job.folder.read_manifest()
            self._started(job, loop)

        runner = cluster.runner(
            admitted,
            self._take_source(job, admitted),
            job.folder,
            self._machine,
            on_started=started,
            on_spooled=lambda: self._spooled(job, loop),
        )
        outcome = self._run(job, runner)
        job.manifest = job.folder.read_manifest()
        return outcome

    def _run(self, job: Job, runner: Runner | ClusterRunner) -> Outcome:
        job.runner = runner
        if job.stop is not None:
            runner.end(*job.stop)
        if job.stop_after is not None:
            runner.stop_after(job.stop_after)
        return runner.run()

    def _started(self, job: Job, loop: asyncio.AbstractEventLoop) -> None:
        job.run.state = "running"
        job.folder.write_run(job.run)
        loop.call_soon_threadsafe(self._on_started, job)

    def _measured(self, job: Job, found: SideBySide, loop: asyncio.AbstractEventLoop) -> None:
        loop.call_soon_threadsafe(self._on_measured, job, found)

    def _spooled(self, job: Job, loop: asyncio.AbstractEventLoop) -> None:
        loop.call_soon_threadsafe(self._on_spooled, job)
