"""The daemon: offers, jobs and connection in one event loop, from start to SIGTERM."""

from __future__ import annotations

import asyncio
import secrets
import signal
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from detctl_proto.v1 import agents_pb2

from detctl_agent import logs
from detctl_agent.catalog.offers import Offers
from detctl_agent.client import messages
from detctl_agent.client.channel import Endpoint
from detctl_agent.client.connection import Connection
from detctl_agent.client.health import EVERY_S, write_sign
from detctl_agent.jobs.job import JobPhase
from detctl_agent.jobs.job_training import JobOptions
from detctl_agent.jobs.jobs import Jobs
from detctl_agent.launcher.usage import machine_room
from detctl_agent.manifest import machine_manifest
from detctl_agent.runs.side_by_side import TOGETHER_MAX
from detctl_agent.state.state_folder import StateFolder

OFFERS_EVERY_S = 0.5
FAREWELL_S = 5.0  # for the coordinator to note the runs that were ended
log = logs.logger("service")


class Service:
    """See the module's text."""

    def __init__(
        self,
        name: str,
        endpoint: Endpoint,
        offers: Offers,
        state: StateFolder,
        options: JobOptions,
    ) -> None:
        self._name, self._endpoint, self._offers = name, endpoint, offers
        self._state, self._options = state, options
        self._boot_id = secrets.token_hex(8)
        self._manifest: dict[str, Any] = {}

    async def run(self) -> None:
        """Works until SIGTERM or SIGINT; then ends its trainings, reports them and returns."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        self._manifest = await asyncio.to_thread(machine_manifest, self._name)
        await asyncio.to_thread(self._offers.refresh)
        jobs = Jobs(self._name, self._offers, self._state, self._options)
        await jobs.take_over()
        changed = asyncio.Event()
        connection = Connection(self._name, self._endpoint, jobs, self._hello, changed)
        log.info(
            logs.line(
                "started",
                name=self._name,
                coordinator=",".join(self._endpoint.targets),
                state=self._state.root,
                boot=self._boot_id,
            )
        )
        tasks = [
            asyncio.create_task(connection.run(), name="connection"),
            asyncio.create_task(self._follow_offers(jobs, changed), name="offers"),
            asyncio.create_task(self._give_signs(connection), name="signs"),
        ]
        ended = asyncio.create_task(stop.wait())
        try:
            done, _ = await asyncio.wait((*tasks, ended), return_when=asyncio.FIRST_COMPLETED)
            log.info(logs.line("ending"))
            await jobs.close()
            await self._farewell(jobs)
            for task in done - {ended}:
                task.result()  # neither ends on its own: raise its error
        finally:
            for task in (*tasks, ended):
                task.cancel()
            await asyncio.gather(*tasks, ended, return_exceptions=True)
        log.info(logs.line("ended"))

    async def _follow_offers(self, jobs: Jobs, changed: asyncio.Event) -> None:
        while True:
            await asyncio.sleep(OFFERS_EVERY_S)
            if await asyncio.to_thread(self._offers.refresh):
                changed.set()
                jobs.to_report.set()

    async def _give_signs(self, connection: Connection) -> None:
        while True:
            try:
                await asyncio.to_thread(write_sign, self._state.root, connected=connection.up)
            except OSError as error:  # a full disk: health checks fail, and the runs report the reason
                log.warning(logs.line("no_sign_of_life", why=error.strerror or error))
            await asyncio.sleep(EVERY_S)

    async def _farewell(self, jobs: Jobs) -> None:
        """Waits a moment until the ends of the runs are noted; the next start reports the others."""
        async with asyncio.timeout(FAREWELL_S) as limit:
            while any(job.phase < JobPhase.DROPPED for job in jobs.active()):
                await asyncio.sleep(0.05)
        if limit.expired():
            log.warning(logs.line("not_noted", runs=len(jobs.active())))

    def _hello(self) -> agents_pb2.AgentMessage:
        return messages.hello(
            self._name,
            _version(),
            self._boot_id,
            self._parallel_runs(),
            self._offers.catalog,
            self._offers.sources,
            self._manifest,
            self._offers.notes(),
        )

    def _parallel_runs(self) -> int:
        """How many runs the coordinator may assign at a time. Those that do not fit side by side wait here (jobs/slots.py)."""
        may_share = any(recipe.side_by_side for recipe in self._offers.catalog.recipes.values())
        return max(self._options.parallel, min(TOGETHER_MAX, machine_room().cores) if may_share else 1)


def _version() -> str:
    try:
        return version("detctl")
    except PackageNotFoundError:
        return "unknown"
