"""A real agent process against a small coordinator in the test's own event loop, and trainings without torch.

The trainings speak through the real probe (staged by the agent) and its recorder; no test sleeps: each waits for an event.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from detctl_proto.v1 import agents_pb2, agents_pb2_grpc, records_pb2

REPOSITORY = Path(__file__).parents[3]
WAIT_S = 60.0

EMITTER = """
import os, signal, sys
from hashlib import blake2b
from detctl_probe.digest.fingerprint import Fingerprint
from detctl_probe.recording.recorder import recorder

steps, width = int(sys.argv[1]), int(sys.argv[2])
then = sys.argv[3] if len(sys.argv) > 3 else "exit"
probe = recorder()
if then == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if then == "daemon" and os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with open(sys.argv[4], "w") as stream:
        stream.write(str(os.getpid()))
    while True:
        signal.pause()
for step in range(steps):
    for stage in ("init", "batch", "forward", "loss", "backward", "update"):
        if stage == "init" and step:
            continue
        for number in range(width):
            text = "%s %d %d" % (stage, step, number)
            digest = blake2b(text.encode(), digest_size=16).digest()
            probe.record(stage, "layer%d" % number, Fingerprint(digest, "float32", (2, 3)))
    probe.end_step()
    print("step", step, flush=True)
if then == "crash":
    raise SystemExit(7)
if then == "flood":
    while True:
        sys.stdout.write("x" * 65536)
if then == "write-source":
    open(os.path.join(sys.argv[4], "left.txt"), "w").write("x")
if then in ("hang", "stubborn", "daemon"):
    while True:
        signal.pause()
"""


class FakeCoordinator(agents_pb2_grpc.AgentsServicer):
    """Keeps what arrives; `event` wakes whoever waits for something of it."""

    def __init__(self) -> None:
        self.hellos: list[agents_pb2.Hello] = []
        self.states: list[agents_pb2.RunState] = []
        self.heartbeats: list[agents_pb2.Heartbeat] = []
        self.segments: dict[tuple[str, int, int, int], records_pb2.Segment] = {}
        self.seals: dict[tuple[str, int, int], records_pb2.Seal] = {}
        self.received = 0
        self.acknowledge = True
        self.note = True
        self.fenced: set[tuple[str, int]] = set()
        self.refuse = ""
        self.metadata: list[dict[str, Any]] = []
        self.outbox: asyncio.Queue[agents_pb2.CoordinatorMessage] = asyncio.Queue()
        self.event = asyncio.Condition()

    async def until(self, condition: Callable[[], Any]) -> Any:
        """Waits until `condition` is true and returns its value."""
        async with self.event, asyncio.timeout(WAIT_S):
            await self.event.wait_for(condition)
        return condition()

    async def _woke(self) -> None:
        async with self.event:
            self.event.notify_all()

    def assign(self, run_id: str = "r1", attempt: int = 1, **fields: Any) -> None:
        fields = {"recipe": "emit", "environment": "default", "level": "module", "step_to": 4, **fields}
        self.outbox.put_nowait(
            agents_pb2.CoordinatorMessage(assignment=agents_pb2.Assignment(run_id=run_id, attempt=attempt, **fields))
        )

    def stop(self, **fields: Any) -> None:
        self.outbox.put_nowait(agents_pb2.CoordinatorMessage(stop_run=agents_pb2.StopRun(**fields)))

    def state(self, phase: int, run_id: str = "r1", attempt: int | None = None) -> agents_pb2.RunState | None:
        for state in reversed(self.states):
            if state.phase == phase and state.run_id == run_id and attempt in (None, state.attempt):
                return state
        return None

    async def ended(self, run_id: str = "r1", attempt: int | None = None) -> agents_pb2.RunState:
        """Waits for the end of a run."""
        found: agents_pb2.RunState = await self.until(lambda: self.state(agents_pb2.RUN_PHASE_ENDED, run_id, attempt))
        return found

    async def Control(self, requests: Any, context: Any) -> AsyncIterator[agents_pb2.CoordinatorMessage]:
        self.metadata.append(dict(context.invocation_metadata()))
        replies: asyncio.Queue[agents_pb2.CoordinatorMessage] = asyncio.Queue()

        async def hear() -> None:
            async for message in requests:
                kind = message.WhichOneof("kind")
                if kind == "hello":
                    self.hellos.append(message.hello)
                    replies.put_nowait(agents_pb2.CoordinatorMessage(welcome=agents_pb2.Welcome(coordinator="test")))
                elif kind == "heartbeat":
                    self.heartbeats.append(message.heartbeat)
                else:
                    state = message.run_state
                    self.states.append(state)
                    if self.note:
                        noted = agents_pb2.RunStateNoted(run_id=state.run_id, attempt=state.attempt, phase=state.phase)
                        replies.put_nowait(agents_pb2.CoordinatorMessage(run_state_noted=noted))
                await self._woke()

        async def forward() -> None:
            while True:
                replies.put_nowait(await self.outbox.get())

        tasks = [asyncio.create_task(hear()), asyncio.create_task(forward())]
        try:
            while True:
                yield await replies.get()
        finally:
            for task in tasks:
                task.cancel()

    async def Ingest(self, requests: Any, context: Any) -> AsyncIterator[agents_pb2.IngestReply]:
        async for request in requests:
            self.received += 1
            seal = request.WhichOneof("kind") == "seal"
            body = request.seal if seal else request.segment
            key = (body.run_id, body.attempt, body.rank)
            reply = agents_pb2.IngestReply(run_id=key[0], attempt=key[1], rank=key[2], seal=seal)
            if key[:2] in self.fenced:
                reply.fenced = True
            elif self.refuse:
                reply.refused = self.refuse
            elif seal:
                self.seals[key] = body
            else:
                self.segments[(*key, body.number)] = body
                reply.number = body.number
            await self._woke()
            if not self.acknowledge:
                async with self.event:
                    await self.event.wait_for(lambda: self.acknowledge)
            yield reply

    async def resume_acknowledging(self) -> None:
        self.acknowledge = True
        await self._woke()

    def records(self, run_id: str = "r1") -> int:
        return sum(segment.record_count for key, segment in self.segments.items() if key[0] == run_id)

    def columns(self, run_id: str = "r1", rank: int = 0) -> list[records_pb2.RecordColumns]:
        found = sorted((key, segment) for key, segment in self.segments.items() if key[0] == run_id and key[2] == rank)
        for _, segment in found:
            assert zlib.crc32(segment.columns) == segment.crc32
        return [records_pb2.RecordColumns.FromString(zlib.decompress(segment.columns)) for _, segment in found]


class Served:
    """A FakeCoordinator behind a socket that can go away and come back."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "c"
        self.address = f"unix:{self.path}"
        self.coordinator = FakeCoordinator()
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        self.path.unlink(missing_ok=True)
        self._server = grpc.aio.server()
        agents_pb2_grpc.add_AgentsServicer_to_server(self.coordinator, self._server)
        self._server.add_insecure_port(self.address)
        await self._server.start()

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(0)
            self._server = None


class AgentProcess:
    """`detctl-agent` as a process of its own; what it says on stderr is in `log`."""

    def __init__(
        self,
        folder: Path,
        address: str,
        *arguments: str,
        variables: dict[str, str] | None = None,
        within: Sequence[str] = (),
    ) -> None:
        """within: what the command begins with."""
        self.folder = folder
        self.log_path = folder / "agent.log"
        self._log = open(self.log_path, "ab")  # noqa: SIM115 - closed by close()
        env = {key: value for key, value in os.environ.items() if not key.startswith("DETCTL")}
        env["PYTHONPATH"] = f"{REPOSITORY}/proto:{REPOSITORY}/agent"
        env["XDG_STATE_HOME"] = str(folder / "user-state")  # where the recording key lies
        self.process = subprocess.Popen(
            [
                *within, sys.executable, "-m", "detctl_agent.main", "--name", "gpu1", "--coordinator", address,
                "--catalog", str(folder / "catalog.toml"), "--state", str(folder / "state"), *arguments,
            ],
            env={**env, **(variables or {})},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )  # fmt: skip

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    async def ended(self) -> int:
        return await asyncio.wait_for(asyncio.to_thread(self.process.wait), WAIT_S)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()
        self._log.close()


def write_catalog(folder: Path, recipe: dict[str, Any] | None = None, more: str = "") -> Path:
    """A catalog with the recipe `emit`, whose parameters are steps, width and then."""
    source = folder / "source"
    source.mkdir(exist_ok=True)
    (source / "emit.py").write_text(EMITTER)
    given = {
        "command": ["python", "emit.py", "{steps}", "{width}", "{then}", "{out}/extra"],
        "folder": str(source),
        **(recipe or {}),
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in given.items()]
    text = "\n".join(
        ["[recipes.emit]", *lines, "[recipes.emit.parameters]", "steps = 8", "width = 5", 'then = "hang"', more]
    )
    path = folder / "catalog.toml"
    path.write_text(text)
    path.chmod(0o600)
    return path


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def gone(pids: list[int]) -> None:
    """Waits until none of the processes is left, by their pidfds."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            descriptor = os.pidfd_open(pid)
            waiting = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().add_reader(descriptor, lambda w=waiting: w.done() or w.set_result(None))
            try:
                await asyncio.wait_for(waiting, WAIT_S)
            finally:
                asyncio.get_running_loop().remove_reader(descriptor)
                os.close(descriptor)


def pids_of_run(key: str) -> list[int]:
    """Live processes that carry DETCTL_RUN_ID=key."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if f"DETCTL_RUN_ID={key}".encode() in (entry / "environ").read_bytes().split(b"\0") and alive(
                    int(entry.name)
                ):
                    found.append(int(entry.name))
    return found


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    """One of these tests at a time, whatever processes the suite has: all call their run r1, and an agent ends what it finds of a run."""
    with open(Path(tempfile.gettempdir()) / f"detctl-agent-tests-{os.getuid()}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture
def tools() -> Any:
    """The helpers of this file, for tests in other files."""
    import types

    return types.SimpleNamespace(
        write_catalog=write_catalog, alive=alive, gone=gone, pids_of_run=pids_of_run, AgentProcess=AgentProcess,
        EMITTER=EMITTER, REPOSITORY=REPOSITORY,
    )  # fmt: skip


@pytest.fixture
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    with tempfile.TemporaryDirectory(prefix="dc") as folder:  # short: a socket's path
        found = Served(Path(folder))
        await found.start()
        yield found
        await found.stop()


@pytest.fixture
def agent(tmp_path: Path, served: Served) -> Iterator[Callable[..., AgentProcess]]:
    """Starts agents on `tmp_path`; ends them with the test, and checks that they leave no training behind."""
    started: list[AgentProcess] = []

    def start(*arguments: str, variables: dict[str, str] | None = None) -> AgentProcess:
        if not (tmp_path / "catalog.toml").exists():
            write_catalog(tmp_path)
        started.append(AgentProcess(tmp_path, served.address, *arguments, variables=variables))
        return started[-1]

    yield start
    for one in started:
        one.close()
    for folder in (tmp_path / "state" / "runs").glob("*"):
        end = time.monotonic() + 60  # the shim ends a tree moments after its agent
        while pids_of_run(folder.name) and time.monotonic() < end:
            time.sleep(0.05)
        assert pids_of_run(folder.name) == []
