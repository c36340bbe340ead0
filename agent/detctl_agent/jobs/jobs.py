"""All jobs of an agent: accepts assignments, runs them in order, and keeps what must be reported and sent.

It lives in one event loop; trainings and file work run in threads. It does not use gRPC: `client/` reads it and calls it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import asdict

from detctl_proto.recordings.run_timings import RunTimings
from detctl_proto.recordings.side_by_side import SideBySide

from detctl_agent import logs
from detctl_agent.catalog.admission import Order, check_ids
from detctl_agent.catalog.offers import Offers
from detctl_agent.errors import AgentError, RunRefusedError, SourceError
from detctl_agent.jobs.job import Job, JobPhase
from detctl_agent.jobs.job_training import JobOptions, JobTraining
from detctl_agent.jobs.slots import Place, Slots
from detctl_agent.runs.outcome import Outcome, failed
from detctl_agent.runs.run_document import run_json
from detctl_agent.runs.side_by_side import TOGETHER_MAX
from detctl_agent.state import spool
from detctl_agent.state.state_folder import StateFolder

QUEUE_MAX = 256
log = logs.logger("jobs")


class Jobs:
    """See the module's text. `to_report` and `send` are set whenever there may be something to report or to send."""

    def __init__(self, machine: str, offers: Offers, state: StateFolder, options: JobOptions) -> None:
        self._machine, self._state = machine, state
        self._cluster, self._cgroups = options.cluster, options.cgroups
        self.training = JobTraining(
            machine,
            offers,
            state,
            options,
            on_started=self._started,
            on_spooled=self._spooled,
            on_measured=self._measured,
        )
        self._slots = Slots(options.parallel)
        self._active: set[str] = set()  # keys of the jobs that have a slot
        # Separate threads, because runs last long and must not delay file work.
        self._threads = ThreadPoolExecutor(max(options.parallel, TOGETHER_MAX), "run")
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False
        self.jobs: dict[str, Job] = {}
        self.to_report = asyncio.Event()
        self.send = asyncio.Event()

    # -- from the coordinator -----------------------------------------------------------------------------------------
    def assign(self, order: Order) -> None:
        """Accepts an order. If the same (run, attempt) comes again, only its state is reported again."""
        known = self.jobs.get(order.key)
        if known is not None:
            known.reported = JobPhase.QUEUED  # report it again
            self.to_report.set()
            return
        job = Job(run=run_json(self._machine, order), folder=self._state.folder(order.key), order=order)
        if problem := check_ids(order):
            log.error(logs.line("assignment_refused", why=problem))
            return
        if self._closing or len(self.jobs) >= QUEUE_MAX:
            return  # it will be repeated
        self.jobs[job.key] = job
        for other in self.jobs.values():
            if other.run.run_id == order.run_id and other.run.attempt < order.attempt:
                self._end(other, "lost", "a newer attempt took its place")
                other.fenced = True
        if (earlier := job.folder.read_run()) is not None and earlier.noted:
            job.run, job.manifest = earlier, job.folder.read_manifest()
            job.phase = JobPhase.REFUSED if earlier.end == "refused" else JobPhase.ENDED
            self.to_report.set()
            return
        log.info(logs.line("assigned", run=job.key, recipe=order.recipe, environment=order.environment))
        job.phase = JobPhase.PREPARING
        task = asyncio.get_running_loop().create_task(self._run(job), name=job.key)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.to_report.set()

    def stop(self, run_id: str, attempt: int, after_step: int | None, reason: str) -> None:
        """Ends a run now (after_step None) or after a step. An unknown run has already ended."""
        job = self.jobs.get(f"{run_id}.{attempt}")
        if job is None or job.over:
            return
        if after_step is None:
            self._end(job, "cancelled", reason)
        elif job.stop_after != after_step:
            job.stop_after = after_step
            if job.runner is not None:
                job.runner.stop_after(after_step)

    def fence(self, run_id: str, attempt: int) -> None:
        """Ends and forgets an attempt, because a newer one exists or the run is gone."""
        job = self.jobs.get(f"{run_id}.{attempt}")
        if job is None or job.fenced:
            return
        log.warning(logs.line("fenced", run=job.key))
        job.fenced = True
        self._end(job, "lost", "the coordinator has a newer attempt of this run, or deleted it")
        if job.phase >= JobPhase.SENDING:
            self._drop(job)

    def refuse_data(self, run_id: str, attempt: int, why: str) -> None:
        """Ends a run that can no longer be compared, because the coordinator will never store a part of it."""
        job = self.jobs.get(f"{run_id}.{attempt}")
        if job is None or job.refused:
            return
        log.error(logs.line("data_refused", run=job.key, why=why))
        job.refused = why
        job.run.message = f"the coordinator refused a part of it: {why}"
        self._end(job, "lost", job.run.message)

    def acknowledge(self, job: Job, position: int) -> None:
        """Notes that everything before `position` of the job's spool is in the store."""
        if position > job.acknowledged:
            job.acknowledged = position
            spool.write_acknowledged(job.folder.spool, position)
        self._check_sent(job)

    def noted(self, run_id: str, attempt: int, phase: JobPhase) -> None:
        """Notes that the coordinator knows a phase."""
        job = self.jobs.get(f"{run_id}.{attempt}")
        if job is None:
            return
        job.noted = max(job.noted, phase)
        if job.noted in (JobPhase.ENDED, JobPhase.REFUSED) and job.phase in (JobPhase.ENDED, JobPhase.REFUSED):
            self._drop(job)

    # -- for the client -----------------------------------------------------------------------------------------------
    def active(self) -> list[Job]:
        """Jobs that the agent works on, or whose end it still has to report."""
        return [job for job in self.jobs.values() if job.phase < JobPhase.DROPPED]

    def to_send(self) -> Iterator[Job]:
        """Jobs with unacknowledged data in the spool, in order of their assignment."""
        for job in list(self.jobs.values()):
            if (
                JobPhase.RUNNING <= job.phase <= JobPhase.SENDING
                and not job.fenced
                and job.acknowledged < job.spool_end
            ):
                yield job

    def damaged(self, job: Job, position: int) -> None:
        """Ends a job whose spool was written but cannot be read beyond `position`, because of the disk."""
        log.error(logs.line("spool_damaged", run=job.key, at=position))
        self._end(job, "lost", f"its spool is damaged at byte {position}")
        job.run.end, job.run.message = "lost", f"its spool is damaged at byte {position}"
        job.spool_end = job.acknowledged
        self._check_sent(job)

    # -- life ---------------------------------------------------------------------------------------------------------
    async def take_over(self) -> None:
        """Continues the runs that an earlier start of the agent left."""
        for run, folder in await asyncio.to_thread(lambda: list(self._state.take_over())):
            job = Job(run=run, folder=folder, phase=JobPhase.SENDING, manifest=folder.read_manifest())
            job.spool_end = run.spool_bytes
            job.acknowledged = max(job.acknowledged, min(spool.read_acknowledged(folder.spool), job.spool_end))
            self.jobs[job.key] = job
            if self._cluster is not None:
                await asyncio.to_thread(self._cluster.delete, job.key)
            if self._cgroups is not None:
                self._cgroups.end(job.key)
            log.info(
                logs.line("taken_over", run=job.key, end=run.end, to_send=max(0, job.spool_end - job.acknowledged))
            )
            self._check_sent(job)

    async def close(self) -> None:
        """Ends all trainings; returns when no process of them is left and their spools are closed."""
        self._closing = True
        for job in self.active():
            self._end(job, "lost", "the agent was ended while it ran")
        if self._tasks:
            await asyncio.wait(self._tasks)

    # -- inside -------------------------------------------------------------------------------------------------------
    def _end(self, job: Job, end: str, message: str) -> None:
        if job.over:
            return
        if job.stop is None:
            job.stop = (end, message)
        if job.runner is not None:
            job.runner.end(end, message)

    async def _run(self, job: Job) -> None:
        place = Place(job.order.configuration if job.order else job.key, self.training.may_share(job.order))
        async with self._slot(job, place):
            loop = asyncio.get_running_loop()
            try:
                outcome, prepared = await loop.run_in_executor(self._threads, self.training.train, job, loop)
            except (RunRefusedError, SourceError) as error:
                self._refuse(job, str(error))
                return
            except AgentError as error:
                outcome, prepared = failed(error), None
            except Exception as error:
                # The agent must outlive any run; the error is reported with the run.
                log.exception(logs.line("run_broke", run=job.key))
                outcome = Outcome(
                    end="lost", exit_code=-9, message=f"the agent failed: {type(error).__name__}: {error}"
                )
                prepared = None
            await asyncio.to_thread(self.training.write_end, job, outcome, prepared)
        job.runner = None
        job.phase = JobPhase.SENDING
        job.spool_end = outcome.spool_bytes
        log.info(
            logs.line(
                "run_ended",
                run=job.key,
                end=outcome.end,
                exit_code=outcome.exit_code,
                ranks=outcome.ranks,
                records=outcome.records,
                wall_s=outcome.wall_s,
                message=outcome.message,
            )
        )
        if job.fenced:
            self._drop(job)
        else:
            self._check_sent(job)

    @asynccontextmanager
    async def _slot(self, job: Job, place: Place) -> AsyncIterator[None]:
        """Holds a slot for the job, and counts the jobs that train beside it."""
        await self._slots.take(place)
        self._active.add(job.key)
        self._count_neighbours()
        job.side_by_side = self._slots.decision(place.configuration)
        try:
            yield
        finally:
            self._active.discard(job.key)
            self._slots.give_back(place)
            self._count_neighbours()

    def _count_neighbours(self) -> None:
        training = [job for key in self._active if (job := self.jobs.get(key)) is not None and job.trains]
        for job in training:
            job.beside = len(training) - 1
            job.run.beside = max(job.run.beside, job.beside)

    def _measured(self, job: Job, found: SideBySide) -> None:
        job.side_by_side = found
        if job.order is not None:
            self._slots.measured(job.order.configuration, found)

    def _started(self, job: Job) -> None:
        if job.phase < JobPhase.RUNNING:
            job.phase = JobPhase.RUNNING
            self.to_report.set()

    def _spooled(self, job: Job) -> None:
        if job.runner is not None:
            job.spool_end = max(job.spool_end, job.runner.progress.spooled_bytes)
            self.send.set()

    def _refuse(self, job: Job, message: str) -> None:
        log.warning(logs.line("refused", run=job.key, why=message))
        job.run.state, job.run.end, job.run.message = "ended", "refused", message
        job.phase = JobPhase.REFUSED
        job.folder.forget_data()
        self.to_report.set()

    def _check_sent(self, job: Job) -> None:
        """Ends a job whose spool is completely acknowledged, or whose data is lost."""
        if job.phase is not JobPhase.SENDING:
            return
        if job.acknowledged >= job.spool_end or job.run.end == "lost" or job.refused:
            if job.run.timings:
                job.run.timings = asdict(job.clock.sent(RunTimings(**job.run.timings)))
            if job.refused:
                job.run.end, job.run.message = "lost", f"the coordinator refused a part of it: {job.refused}"
            job.phase = JobPhase.ENDED
            self.to_report.set()
        else:
            self.send.set()

    def _drop(self, job: Job) -> None:
        job.phase = JobPhase.DROPPED
        self.jobs.pop(job.key, None)
        job.run.noted, job.run.state = True, "ended"
        if job.folder.root.is_dir():
            job.folder.forget_data()
            try:
                job.folder.write_run(job.run)
            except AgentError as error:
                log.error(logs.line("run_json", run=job.key, why=str(error)))
            self._state.prune()
