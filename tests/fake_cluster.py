"""An API server of one namespace's Jobs, and a kubelet that starts each container as a process of this machine.

What differs from a cluster: no images, one node, mounts are the folders themselves (so RUN_FOLDER is what it is in the agent),
and `/detctl` of a pod is a folder of its own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from detctl_agent.sidecar.archive import write_archive

PATH = re.compile(r"/apis/batch/v1/namespaces/([a-z]+)/jobs(?:/([a-z0-9-]+))?")


class Pod:
    """The processes of one Job."""

    def __init__(self, job: dict[str, Any], environment: dict[str, str], logs: Path) -> None:
        self.job, self._environment, self._logs = job, environment, logs
        self.status: dict[str, Any] = {}
        self.shared = Path(tempfile.mkdtemp(prefix="pod"))
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.held = bool(environment.get("HOLD"))  # as a pod that no node can take
        if not self.held:
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()

    def _run(self) -> None:
        spec = self.job["spec"]["template"]["spec"]
        failed = False
        for container in spec["initContainers"]:
            failed = failed or self._start(container).wait() != 0
        if not failed:
            started = [self._start(container) for container in spec["containers"]]
            failed = any(code != 0 for code in map(subprocess.Popen.wait, started))
        kind, reason = ("Failed", "BackoffLimitExceeded") if failed else ("Complete", "")
        self.status = {"conditions": [{"type": kind, "status": "True", "reason": reason}]}

    def _start(self, container: dict[str, Any]) -> subprocess.Popen[bytes]:
        if container["name"] == "attach":
            write_archive(self.shared / "attach.pyz")
        command = [word.replace("/detctl", str(self.shared)) for word in container["command"]]
        programs = {
            "cp": ["true"],
            "python3": [sys.executable],
            "detctl-agent": [sys.executable, "-m", "detctl_agent.main"],
        }
        with open(self._logs / f"{self.job['metadata']['name']}-{container['name']}.log", "ab") as log:
            process = subprocess.Popen(
                [*programs[command[0]], *command[1:]], env=self._environment, cwd="/", stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self.processes[container["name"]] = process
        return process

    def kill(self, *names: str, number: int = signal.SIGKILL) -> None:
        for name, process in self.processes.items():
            if (not names or name in names) and process.poll() is None:
                process.send_signal(number)

    def remove(self) -> None:
        """As the kubelet does: SIGTERM, then SIGKILL."""
        self.kill(number=signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
        shutil.rmtree(self.shared, ignore_errors=True)


class FakeCluster:
    """`config` is a KUBECONFIG for it; `asked` all requests as (method, path)."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.pods: dict[str, Pod] = {}
        self.jobs: list[dict[str, Any]] = []
        self.asked: list[tuple[str, str]] = []
        self.environment, self.folder = environment, folder
        self.refuse = 0
        cluster = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self, code: int, document: dict[str, Any]) -> None:
                data = json.dumps(document).encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def handle_one(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else {}
                found = PATH.fullmatch(self.path.partition("?")[0])
                cluster.asked.append((self.command, self.path))
                if found is None:
                    self.answer(403, {"kind": "Status", "code": 403, "reason": "Forbidden"})
                else:
                    self.answer(*cluster.do(self.command, found.group(2), body))

            do_GET = do_POST = do_DELETE = handle_one

            def log_message(self, *words: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.config = folder / "kubeconfig"
        url = f"http://127.0.0.1:{self._server.server_port}"
        self.config.write_text(
            json.dumps(
                {
                    "apiVersion": "v1", "kind": "Config", "current-context": "c",
                    "clusters": [{"name": "c", "cluster": {"server": url}}],
                    "users": [{"name": "u", "user": {"token": "t"}}],
                    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                }
            )
        )  # fmt: skip

    def do(self, method: str, name: str | None, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if self.refuse:
            return self.refuse, {"kind": "Status", "code": self.refuse, "reason": "Refused"}
        if method == "POST":
            name = body["metadata"]["name"]
            if name in self.pods:
                return 409, {"kind": "Status", "code": 409, "reason": "AlreadyExists"}
            self.jobs.append(body)
            self.pods[name] = Pod(body, self.environment, self.folder)
            return 201, body
        if name not in self.pods:
            return 404, {"kind": "Status", "code": 404, "reason": "NotFound"}
        pod = self.pods[name]
        if method == "DELETE":
            del self.pods[name]
            pod.remove()
        return 200, {**pod.job, "status": pod.status}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        for pod in self.pods.values():
            pod.kill()


def variables(repository: Path) -> dict[str, str]:
    """Those of a container: nothing of the test's own but where its programs are."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{repository}/proto:{repository}/agent",
        "IN_THE_IMAGE": "yes",
        "SOME_TOKEN": "secret-of-the-pod",
    }
