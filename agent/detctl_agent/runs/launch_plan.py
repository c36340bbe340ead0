"""What is started for a run, and within which limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from detctl_proto.levels import DEFAULT_LEVEL

from detctl_agent.launcher.account import Account
from detctl_agent.launcher.container import Container
from detctl_agent.launcher.limits import Limits
from detctl_agent.sidecar.attached import Attached
from detctl_agent.source.overlay import View

GRACE_S = 10.0


@dataclass(frozen=True)
class LaunchPlan:
    """What to start. `env` is complete except for what only the runner knows (see Runner). window_end: None means to the end."""

    run_id: str
    attempt: int
    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str]
    timeout_s: float | None = None
    output_bytes_max: int = 64 * 1024 * 1024
    level: str = DEFAULT_LEVEL
    window_end: int | None = 32
    spool_bytes_max: int = 16 * 1024**3  # of one run: a coordinator that accepts nothing must not fill the disk
    grace_s: float = GRACE_S
    umask: int = 0o077
    container: Container | None = None  # that argv starts
    attached: Attached | None = None  # a shim in another container, which starts it
    account: Account | None = None  # the user that it runs as; None: the user of this process
    limits: Limits | None = None  # None: the limits of this process
    view: View | None = None  # a private view of its folder, in which it starts
    keep_files: bool = False  # what the run writes into its private view or copy of the folder is kept
    interpreter: str = ""  # the Python that it runs in
    origin: Path | None = None  # the folder that cwd is a copy of

    @property
    def key(self) -> str:
        """`<run id>.<attempt>`, the value of DETCTL_RUN_ID and the name of the run's folder."""
        return f"{self.run_id}.{self.attempt}"
