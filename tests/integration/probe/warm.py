"""A Python that has imported torch already and forks for each script: most of a short training is that import.

For runs without the probe alone; the probe has to be there before torch is. A script runs as __main__ in its folder, with its variables.

    warm().run("train.py", cwd=folder, env=variables, timeout_s=60.0)
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import runpy
import selectors
import signal
import subprocess
import sys
import traceback
from pathlib import Path


class Warm:
    """The parent's side: one script at a time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    def run(self, script: str, *, cwd: Path, env: dict[str, str], timeout_s: float) -> subprocess.CompletedProcess[str]:
        """Exit code, output and errors. Raises subprocess.TimeoutExpired, and the warm Python is gone."""
        out, err = cwd / "warm.out", cwd / "warm.err"
        job = {"script": str(cwd / script), "cwd": str(cwd), "env": env, "out": str(out), "err": str(err)}
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            if not selector.select(timeout_s):
                self.close()
                raise subprocess.TimeoutExpired(script, timeout_s)
        code = int(self._process.stdout.readline())
        return subprocess.CompletedProcess([script], code, out.read_text(), err.read_text())

    def close(self) -> None:
        """Ends it and whatever it runs."""
        warm.cache_clear()
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@functools.cache
def warm() -> Warm:
    """The one of this test process."""
    made = Warm()
    atexit.register(made.close)
    return made


def _serve() -> None:
    import torch._dynamo  # noqa: F401 - every optimizer's first step imports it

    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if child == 0:
            _train(job)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _train(job: dict[str, str]) -> None:
    for number, path, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, job["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        (2, job["err"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
    ):
        os.dup2(os.open(path, flags, 0o600), number)
    os.environ.clear()
    os.environ.update(job["env"])
    os.chdir(job["cwd"])
    sys.argv = [job["script"]]
    sys.path[0] = job["cwd"]
    code: object = 0
    try:
        runpy.run_path(job["script"], run_name="__main__")
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        traceback.print_exc()
        code = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    _serve()
