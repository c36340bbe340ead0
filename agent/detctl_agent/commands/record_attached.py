"""`detctl-agent record -o DIR --attach SHARED`: a sidecar that records a training of another container (sidecar/attach.py).

The training's image needs nothing but a Python. Both containers see SHARED at the same path. It holds attach.pyz, the probe, the
sockets and the run's private folders.
"""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

from detctl_agent.commands.recording import Recording, notify, pair
from detctl_agent.errors import AgentError
from detctl_agent.launcher.variables import taken_over
from detctl_agent.runs.preparation import Training
from detctl_agent.sidecar.archive import write_archive
from detctl_agent.sidecar.attached import Attached
from detctl_agent.state.run_folder import disk_error
from detctl_agent.state.sockets import RuntimeFolder

WAIT_S = 600.0


class AttachedRecording(Recording):
    """A Recording of a training that another container starts. The training's output goes to the log of its own container."""

    def __init__(self, shared: Path, variables: tuple[str, ...], **options: Any) -> None:
        super().__init__(**options)
        if self._command or self._in_copy:
            raise AgentError("--attach excludes a command and --copy: the other container provides the command")
        self._shared = shared.absolute()
        if not self._shared.is_dir():
            raise AgentError(f"{shared} is not a folder: give the one that both containers see")
        if not self._folder.root.is_relative_to(self._shared):
            raise AgentError(f"-o {self._folder.root} must be in {self._shared}, because the training writes there")
        self._variables = dict(pair(text, "--env") for text in variables)
        archive = self._shared / "attach.pyz"
        try:
            if not archive.exists():  # an init container has made it, and the training may be reading it
                write_archive(archive)
        except OSError as error:
            raise disk_error(error, self._shared) from error

    def _runtime(self) -> RuntimeFolder:
        return RuntimeFolder(self._folder.tmp, root=self._shared)

    def _working_folder(self) -> str:
        return ""

    def _check_program(self) -> None:
        """The other container knows its program."""

    def _training(self, runtime: RuntimeFolder) -> Training:
        """The training that the other container is about to start."""
        notify(f"waiting for a training at {self._shared} (there: python3 {self._shared}/attach.pyz COMMAND)")
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # before the training starts, it only ends the wait
        attached = Attached(self._shared, WAIT_S)
        hello = attached.hello
        if not hello["argv"]:
            attached.close()
            raise AgentError(f"the other container gave no command: start python3 {self._shared}/attach.pyz COMMAND")
        self._command, work = [str(word) for word in hello["argv"]], Path(str(hello["cwd"]))
        order = self._order(self._command)
        env = {**taken_over(hello["environ"]), **self._variables}
        return Training(
            order=order,
            plan=self._plan(order, self._command, work, env, umask=int(hello["umask"]), attached=attached),
            interpreter=hello["python"]["executable"],
            places=self._paths,
            own_caches=False,
            own_home=False,
            recipe=self._recipe(order, list(self._paths), None),
            environment={"name": "default", "python": hello["python"]["executable"], "emulate": {}},
            origin=work,
            inside=attached.facts,
        )
