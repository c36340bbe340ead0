"""The agent's own folder, for one agent at a time, with the runs that an earlier start left."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from detctl_proto.syntax.names import is_name
from platformdirs import user_state_path

from detctl_agent import logs
from detctl_agent.errors import AgentError
from detctl_agent.launcher.sweep import sweep
from detctl_agent.state import spool
from detctl_agent.state.run_folder import RunFolder, RunJson, disk_error, remove_tree

ENDED_FOLDERS_MAX = 100  # of ended runs, whose outputs are kept
log = logs.logger("state")


def default_state(name: str) -> Path:
    """`$XDG_STATE_HOME/detctl/agents/<name>`."""
    return user_state_path("detctl") / "agents" / name


class StateFolder:
    """`<state>/runs/<run id>.<attempt>/` and a lock. Raises AgentError if another agent uses it."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.runs.mkdir(mode=0o700, exist_ok=True)
            self._lock = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise disk_error(error, self.root) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise AgentError(
                f"another agent works in {self.root}: end it, or choose another folder with --state"
            ) from error

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    def let_through(self) -> None:
        """Lets trainings of another user reach their own folders by path, without listing this one."""
        try:
            self.root.chmod(0o711)
            self.runs.chmod(0o711)
        except OSError as error:
            raise disk_error(error, self.root) from error

    def close(self) -> None:
        """Releases the folder."""
        os.close(self._lock)

    def folder(self, key: str) -> RunFolder:
        """The folder of `<run id>.<attempt>`, which may not exist."""
        return RunFolder(self.runs / key)

    def take_over(self) -> Iterator[tuple[RunJson, RunFolder]]:
        """Runs that an earlier start left unfinished: ended runs whose end was not noted (their spool is valid), and lost runs,
        with end `lost`. Ends their processes that are still running."""
        left = [(folder, folder.read_run()) for folder in self._folders()]
        unfinished = [(folder, run or _run_of(folder)) for folder, run in left if run is None or not run.noted]
        killed = sweep({folder.root.name for folder, run in unfinished if run.state != "ended"})
        if killed:
            log.warning(logs.line("leftovers_ended", processes=killed))
        for folder, run in unfinished:
            if run.state == "ended":
                found = spool.check(folder.spool)
                if found.good_bytes < run.spool_bytes and run.end != "lost":
                    message = (
                        f"its spool is damaged: {run.spool_bytes - found.good_bytes} of {run.spool_bytes} bytes dropped"
                    )
                    log.error(logs.line("spool_damaged", run=folder.root.name, why=message))
                    run.end, run.message = "lost", message
            else:
                found = spool.check(folder.spool)
                if found.dropped_bytes:
                    log.warning(logs.line("spool_tail_dropped", run=folder.root.name, bytes=found.dropped_bytes))
                run.state, run.end, run.exit_code = "ended", "lost", -9
                run.message = "the agent was killed while it ran"
            if run.end == "lost":
                _forget(folder, run)
            yield run, folder

    def prune(self) -> None:
        """Removes the oldest folders of runs whose end was noted."""
        done = [folder for folder in self._folders() if (run := folder.read_run()) is not None and run.noted]
        done.sort(key=lambda folder: folder.root.stat().st_mtime)
        for folder in done[:-ENDED_FOLDERS_MAX]:
            remove_tree(folder.root)

    def _folders(self) -> list[RunFolder]:
        return [RunFolder(entry) for entry in sorted(self.runs.iterdir()) if _key_of(entry.name) and entry.is_dir()]


def _forget(folder: RunFolder, run: RunJson) -> None:
    """Removes the data of a lost attempt, because a new attempt takes its place."""
    folder.forget_data()
    run.spool_bytes = run.spool_records = 0
    try:
        folder.write_run(run)
    except AgentError as error:
        log.error(logs.line("run_json", run=folder.root.name, why=str(error)))


def _key_of(name: str) -> tuple[str, int] | None:
    run_id, _, attempt = name.rpartition(".")
    return (run_id, int(attempt)) if is_name(run_id) and attempt.isdigit() else None


def _run_of(folder: RunFolder) -> RunJson:
    key = _key_of(folder.root.name)
    assert key is not None
    return RunJson(run_id=key[0], attempt=key[1])
