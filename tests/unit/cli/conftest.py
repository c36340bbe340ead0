"""A scripted coordinator over a real gRPC server, and the CLI as a real process."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from detctl_proto.v1 import agents_pb2, agents_pb2_grpc, audits_pb2, audits_pb2_grpc

ROOT = Path(__file__).resolve().parents[3]
SOURCES = os.pathsep.join(str(ROOT / name) for name in ("proto", "agent", "coordinator", "cli"))

VERDICT: dict[str, Any] = {
    "schema": "detctl.verdict/v1",
    "audit": "a1",
    "recipe": "digits",
    "outcome": "different",
    "origin": "environment",
    "causes": [
        {
            "cause": "filesystem-order", "origin": "environment", "confidence": "indicated", "stage": "listing", "step": 0,
            "site": "{data}/train", "kind": "permutation", "confirmed_by": None,
            "evidence": ["same 1,797 names, another order", "os.listdir in train.py:31"],
            "fix": "sort the result of os.listdir (train.py:31)", "carried_on_to": ["sample", "batch", "loss"],
            "runs": ["gpu1/default/base/twin-0", "gpu2/default/base/twin-0"], "words": "same 1,797 names, another order",
        }
    ],
    "groups": [
        ["gpu1/default/base/twin-0", "gpu1/default/base/twin-1"],
        ["gpu2/default/base/twin-0", "gpu2/default/base/twin-1"],
    ],
    "first_divergence": {
        "stage": "listing", "step": 0, "site": "{data}/train", "kind": "permutation",
        "runs": ["gpu1/default/base/twin-0", "gpu2/default/base/twin-0"], "words": "same 1,797 names, another order",
    },
    "benign": [], "machines": {}, "unverified_because": [],
    "coverage": {"stages": ["listing", "init", "loss", "update"], "steps": [0, 32], "level": "module"},
}  # fmt: skip


@dataclass
class FakeCoordinator(audits_pb2_grpc.AuditsServicer, agents_pb2_grpc.AgentsServicer):
    """Gives scripted answers and keeps the requests. watch: lists of progress, one for each WatchAudit; None: hang until cancelled."""

    requests: list[tuple[str, Any]] = field(default_factory=list)
    fail: dict[str, tuple[grpc.StatusCode, str]] = field(default_factory=dict)
    verdict: dict[str, Any] = field(default_factory=lambda: json.loads(json.dumps(VERDICT)))
    watch: list[list[audits_pb2.AuditProgress] | None] = field(default_factory=list)
    machines: list[audits_pb2.MachineInfo] = field(default_factory=list)
    runs: list[audits_pb2.RunInfo] = field(default_factory=list)
    audits: list[audits_pb2.AuditInfo] = field(default_factory=list)
    shown: tuple[str, Any] = ("audit", {})
    token: str = ""
    watching: threading.Event = field(default_factory=threading.Event)
    calls: queue.Queue[str] = field(default_factory=queue.Queue)
    release: threading.Event = field(default_factory=threading.Event)  # ends streams that hang
    refuse_ingest: str = ""

    def _note(self, name: str, request: Any, context: Any) -> None:
        if self.token and dict(context.invocation_metadata()).get("authorization") != f"Bearer {self.token}":
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "a token is needed")
        self.requests.append((name, request))
        self.calls.put(name)
        if name in self.fail:
            context.abort(*self.fail[name])

    def request(self, name: str) -> Any:
        """The last request of this name."""
        return [request for called, request in self.requests if called == name][-1]

    def PlanAudit(self, request, context):
        self._note("PlanAudit", request, context)
        runs = [audits_pb2.PlannedRun(label=f"{m}/default/base/twin-0", machine=m) for m in request.machines]
        return audits_pb2.AuditPlan(runs=runs, warnings=["machine gpu2 is not connected now"])

    def StartAudit(self, request, context):
        self._note("StartAudit", request, context)
        return audits_pb2.AuditPlan(audit_id="a1")

    def WatchAudit(self, request, context):
        self._note("WatchAudit", request, context)
        script = self.watch.pop(0) if self.watch else [self.last()]
        if script is None:
            yield audits_pb2.AuditProgress(audit_id="a1", state="running")
            self.watching.set()
            context.add_callback(self.release.set)
            self.release.wait()
            if "WatchAudit" in self.fail:
                context.abort(*self.fail["WatchAudit"])
            return
        yield from script

    def last(self) -> audits_pb2.AuditProgress:
        return audits_pb2.AuditProgress(audit_id="a1", state="done", verdict_json=json.dumps(self.verdict))

    def CancelAudit(self, request, context):
        self._note("CancelAudit", request, context)
        return audits_pb2.Empty()

    def Compare(self, request, context):
        self._note("Compare", request, context)
        return audits_pb2.VerdictReply(verdict_json=json.dumps(self.verdict))

    def ListMachines(self, request, context):
        self._note("ListMachines", request, context)
        return audits_pb2.MachineList(machines=self.machines)

    def ListRuns(self, request, context):
        self._note("ListRuns", request, context)
        return audits_pb2.RunList(runs=self.runs)

    def ListAudits(self, request, context):
        self._note("ListAudits", request, context)
        return audits_pb2.AuditList(audits=self.audits)

    def Show(self, request, context):
        self._note("Show", request, context)
        return audits_pb2.ShowReply(kind=self.shown[0], json=json.dumps(self.shown[1]))

    def DeleteRuns(self, request, context):
        self._note("DeleteRuns", request, context)
        return audits_pb2.DeleteReply(run_ids=request.run_ids or ["r9"])

    def ImportRun(self, request, context):
        self._note("ImportRun", request, context)
        return audits_pb2.ImportReply(run_id=f"import-{sum(name == 'ImportRun' for name, _ in self.requests)}.000")

    def FinishImport(self, request, context):
        self._note("FinishImport", request, context)
        return audits_pb2.Empty()

    def Ingest(self, request_iterator, context):
        for request in request_iterator:
            self._note("Ingest", request, context)
            part = request.seal if request.WhichOneof("kind") == "seal" else request.segment
            yield agents_pb2.IngestReply(run_id=part.run_id, attempt=part.attempt, refused=self.refuse_ingest)


@dataclass
class Served:
    """A fake that listens, and may go away and come back at the same address."""

    fake: FakeCoordinator
    address: str
    server: grpc.Server | None = None

    def start(self) -> None:
        self.server = grpc.server(futures.ThreadPoolExecutor(8))
        audits_pb2_grpc.add_AuditsServicer_to_server(self.fake, self.server)
        agents_pb2_grpc.add_AgentsServicer_to_server(self.fake, self.server)
        assert self.server.add_insecure_port(self.address)
        self.server.start()

    def stop(self) -> None:
        if self.server is not None:
            self.server.stop(None).wait()
            self.server = None


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A fake coordinator on a Unix socket."""
    found = Served(FakeCoordinator(), f"unix:{tmp_path}/c")
    found.start()
    yield found
    found.stop()


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Variables of a user without any configuration; home lies in tmp_path."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
    home = tmp_path / "home"
    home.mkdir()
    return {**kept, "HOME": str(home), "PYTHONPATH": SOURCES, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}


@pytest.fixture
def start_cli(tmp_path: Path, environ: dict[str, str]) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts `detctl ARGS` in an empty folder; ended with the test."""
    cwd = tmp_path / "cwd"
    cwd.mkdir(exist_ok=True)
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, **variables: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "detctl_cli", *arguments],
            cwd=cwd, env={**environ, **variables}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def cli(start_cli: Callable[..., subprocess.Popen[str]]) -> Callable[..., Ran]:
    """Runs `detctl ARGS` to its end."""

    def run(*arguments: str, **variables: str) -> Ran:
        process = start_cli(*arguments, **variables)
        out, err = process.communicate(timeout=120)
        return Ran(process.returncode, out, err)

    return run


@pytest.fixture
def verdict() -> dict[str, Any]:
    """A verdict of its own for each test."""
    copied: dict[str, Any] = json.loads(json.dumps(VERDICT))
    return copied
