"""Is this GPU machine ready for detctl? `python benchmarks/gpu/acceptance.py` measures everything, in under eight minutes.

It needs torch with CUDA, Triton and numpy beside this source tree. It installs nothing and uses no network and no service. Each part
runs in a process of its own with its own time limit. If a part crashes, its remaining checks get a new process. The program prints a
table as it runs, and writes one JSON file (schema detctl.gpu-acceptance/v1, docs/gpu-acceptance.schema.json).

    --cpu          runs the checks that need no GPU; continuous integration does this
    --only PART    runs one part, or one check by its name; repeat it for more
    --list         prints the names of all checks

It exits with 0 if nothing failed, with 1 if a check failed, crashed or ran out of time, and with 2 if this machine has no GPU and --cpu
was not given.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from checks import (  # noqa: E402 - the folder of this file is not a package
    CRASHED,
    NOT_APPLICABLE,
    ROOT,
    SCHEMA,
    SOURCES,
    STATUSES,
    TIMED_OUT,
    Answer,
    Part,
)  # fmt: skip
from parts import PARTS  # noqa: E402
from run_part import RESTART  # noqa: E402
from warm_python import VARIABLE, start_server  # noqa: E402

LIMIT_S, CPU_LIMIT_S = 470.0, 900.0
TAIL_CHARS = 1500
MACHINE_S = 90.0


class PartRun:
    """Runs one part, and yields its answers one by one, even if its processes die."""

    def __init__(self, part: Part, names: list[str], device: str, folder: Path, seconds: float) -> None:
        self.part = part
        self._left = names
        self._device = device
        self._folder = folder
        self._ends = time.monotonic() + seconds
        self._seconds = seconds

    def answers(self) -> Iterator[Answer]:
        """Yields an Answer for each check, in order. If a process dies or runs out of time, that is its current check's answer."""
        while self._left:
            if time.monotonic() >= self._ends:
                yield from self._out_of_time("the part's time was over before it began")
                return
            yield from self._process()

    def _process(self) -> Iterator[Answer]:
        log = self._folder / f"{self.part.name}.log"
        left_s = max(1.0, self._ends - time.monotonic())
        command = [
            sys.executable,
            str(HERE / "run_part.py"),
            self.part.name,
            self._device,
            str(self._folder),
            f"{left_s:.0f}",
        ]
        with log.open("ab") as errors:
            process = subprocess.Popen(
                [*command, *self._left], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors,
                env=environment(), cwd=self._folder, start_new_session=True,
            )  # fmt: skip
        begun: tuple[str, float] | None = None
        try:
            for line in self._lines(process):
                report = json.loads(line)
                if "begins" in report:
                    begun = report["begins"], time.monotonic()
                    continue
                begun = None
                self._left.remove(report["name"])
                yield Answer(**report)
            over = process.poll() is None and time.monotonic() >= self._ends
        finally:
            ended(process)
        if over:
            if begun is not None:
                self._left.remove(begun[0])
                yield Answer(
                    begun[0], self.part.name, TIMED_OUT, f"not done when the part's {self._seconds:.0f} s were over",
                    time.monotonic() - begun[1],
                )  # fmt: skip
            yield from self._out_of_time("the part's time was over before it began")
        elif begun is not None:
            self._left.remove(begun[0])
            why = f"its process ended by {how(process.returncode)}; {tail(log)}"
            yield Answer(begun[0], self.part.name, CRASHED, why, time.monotonic() - begun[1])
        elif self._left and process.returncode != RESTART:
            why = f"the process of its part ended by {how(process.returncode)} before it began; {tail(log)}"
            yield from (Answer(name, self.part.name, CRASHED, why) for name in self._left)
            self._left = []

    def _lines(self, process: subprocess.Popen[bytes]) -> Iterator[bytes]:
        """Yields lines of the process until it closes its output or the part's time is over."""
        assert process.stdout is not None
        kept = b""
        while True:
            left_s = self._ends - time.monotonic()
            if left_s <= 0 or not select.select([process.stdout], [], [], left_s)[0]:
                return
            data = os.read(process.stdout.fileno(), 1 << 16)
            if not data:
                process.wait()
                return
            *lines, kept = (kept + data).split(b"\n")
            yield from lines

    def _out_of_time(self, why: str) -> Iterator[Answer]:
        left, self._left = self._left, []
        yield from (Answer(name, self.part.name, TIMED_OUT, why) for name in left)


def ended(process: subprocess.Popen[bytes]) -> None:
    """Ends a part's process and everything that it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def how(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def tail(log: Path) -> str:
    text = log.read_text("utf-8", "replace")[-TAIL_CHARS:].strip()
    return f"its last output: {text}" if text else "it wrote nothing"


def environment() -> dict[str, str]:
    """Returns the variables of every process: they make this source tree importable, and prevent writes into it."""
    kept = {name: value for name, value in os.environ.items() if name not in ("DETCTL_PROBE", "DETCTL_RUN_ID")}
    path = os.pathsep.join([*SOURCES, *filter(None, [kept.get("PYTHONPATH")])])
    return {**kept, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


def machine(device: str) -> dict[str, Any]:
    """Returns machine, driver and versions, read in a process of its own; {"error"} if that fails."""
    try:
        read = subprocess.run(
            [sys.executable, str(HERE / "machine_facts.py"), device], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=MACHINE_S, env=environment(), check=True,
        )  # fmt: skip
        found: dict[str, Any] = json.loads(read.stdout.splitlines()[-1])
        return found
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
        return {"error": f"{type(error).__name__}: {error}"[:500], "gpu_usable": False}


@contextlib.contextmanager
def warm_python(folder: Path) -> Iterator[None]:
    """Inside, trainings are forked from one Python that has imported torch. If that fails, each training starts its own Python."""
    try:
        server, os.environ[VARIABLE] = start_server(folder, environment())
    except (OSError, RuntimeError) as error:
        print(f"each training starts a Python of its own ({error})", file=sys.stderr)
        yield
        return
    try:
        yield
    finally:
        del os.environ[VARIABLE]
        ended(server)


def chosen(only: list[str]) -> list[tuple[Part, list[str]]]:
    """Returns (part, names of its checks) for each requested part. Raises SystemExit for a name that is not a part or a check."""
    known = {part.name for part in PARTS} | {check.name for part in PARTS for check in part.checks}
    unknown = [name for name in only if name not in known]
    if unknown:
        raise SystemExit(f"acceptance.py: {unknown[0]} is not a part or a check; --list prints all names")
    found = []
    for part in PARTS:
        names = [c.name for c in part.checks if not only or part.name in only or c.name in only]
        if names:
            found.append((part, names))
    return found


def shown(answer: Answer) -> str:
    """Returns one line of the table."""
    simple = {key: value for key, value in answer.figures.items() if isinstance(value, (int, float, str))}
    summary = answer.why.splitlines()[0] if answer.why else ", ".join(f"{key} {value}" for key, value in simple.items())
    return f"  {answer.name:46s} {answer.status:15s} {answer.seconds:6.1f} s  {summary[:140]}"


def commit() -> str:
    """Returns the commit of this source tree; empty without git."""
    try:
        completed = subprocess.run(
            ["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=True
        )
        return completed.stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Runs what was chosen and returns the document."""
    device = "cpu" if options.cpu else "cuda:0"
    limit_s = options.time_limit or (CPU_LIMIT_S if options.cpu else LIMIT_S)
    began, start = time.time(), time.monotonic()
    facts = machine(device)
    if not options.cpu and not facts.get("gpu_usable"):
        print(f"acceptance.py: torch finds no usable GPU here ({facts.get('error') or facts.get('gpu_why')}); "
              "--cpu runs the checks that need none", file=sys.stderr)  # fmt: skip
        raise SystemExit(2)
    print(
        f"{facts.get('gpu') or 'no GPU: on the CPU'}; driver {facts.get('driver')}; {facts.get('versions')}", flush=True
    )
    answers: list[Answer] = []
    parts: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="detctl-gpu-") as place, warm_python(Path(place)):
        for part, names in chosen(options.only):
            folder = Path(place) / part.name
            folder.mkdir()
            own_s = part.cpu_seconds if options.cpu else part.seconds
            seconds = max(1.0, min(own_s, limit_s - (time.monotonic() - start)))
            print(f"{part.name}: {part.what} (up to {seconds:.0f} s)", flush=True)
            part_start = time.monotonic()
            for answer in PartRun(part, names, device, folder, seconds).answers():
                answers.append(answer)
                print(shown(answer), flush=True)
            wall_s = time.monotonic() - part_start
            parts.append({"name": part.name, "limit_s": round(seconds, 1), "wall_s": round(wall_s, 3)})
            print(f"  {part.name} took {wall_s:.1f} s", flush=True)
    counts = {status: sum(answer.status == status for answer in answers) for status in STATUSES}
    return {
        "schema": SCHEMA, "mode": "cpu" if options.cpu else "gpu", "started_unix_s": round(began, 3),
        "wall_s": round(time.monotonic() - start, 3), "commit": commit(), "machine": facts, "parts": parts,
        "checks": [answer.document() for answer in answers], "counts": counts,
    }  # fmt: skip


def main() -> int:
    """Runs the program that the module describes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cpu", action="store_true", help="Run the checks that need no GPU.")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="PART",
        help="A part, or a check by its name; repeat it for more.",
    )
    parser.add_argument("--json", default="gpu-acceptance.json", metavar="FILE", help="File for the JSON document.")
    parser.add_argument("--list", action="store_true", help="Print the names of all checks.")
    parser.add_argument("--time-limit", type=float, metavar="SECONDS", help="Time limit for everything together.")
    options = parser.parse_args()
    if options.list:
        for part, names in chosen(options.only):
            print("\n".join(f"{name}\t{part.name}" for name in names))
        return 0
    document = run(options)
    Path(options.json).write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    counts = document["counts"]
    print(
        f"{', '.join(f'{count} {status}' for status, count in counts.items())}; {document['wall_s']:.0f} s; {options.json}"
    )
    return 1 if any(counts[status] for status in STATUSES if status not in ("passed", NOT_APPLICABLE)) else 0


if __name__ == "__main__":
    sys.exit(main())
