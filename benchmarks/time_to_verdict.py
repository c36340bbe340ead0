"""Measures how long `detctl audit` takes from the prompt to the verdict, as a ratio to one run of the same script without detctl.

    python benchmarks/time_to_verdict.py [--twins 3] [--seconds 10] [--threads 1] [--rounds 2]

A round runs the script alone, audits it, audits it with `--parallel 1`, and runs it alone again. The ratios of a round use the mean of
its two runs alone, and the best round counts for each. The script trains 30 steps, fewer than the window of an audit, so every run
trains to its end. First, two short runs decide how large a batch must be for the script to take about --seconds. The output begins with
the load of the machine: with a load near the number of processors the ratios are worse than on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TRAIN = """
import argparse
import torch
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--rows", type=int)
parser.add_argument("--threads", type=int)
options = parser.parse_args()
torch.set_num_threads(options.threads)
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(512, 1024), nn.ReLU(), nn.Linear(1024, 512), nn.ReLU(), nn.Linear(512, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for step in range(30):
    loss = nn.functional.cross_entropy(model(torch.randn(options.rows, 512)), torch.randint(0, 10, (options.rows,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print("loss", loss.item())
"""
SMALL, LARGE = 64, 4096


@dataclass(frozen=True)
class Script:
    """The training, and the folder that it lies in."""

    folder: Path
    rows: int
    threads: int

    @property
    def command(self) -> list[str]:
        return [sys.executable, "train.py", "--rows", str(self.rows), "--threads", str(self.threads)]

    def alone_s(self) -> float:
        """Returns the seconds of one run without detctl."""
        began = time.perf_counter()
        subprocess.run(self.command, cwd=self.folder, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - began

    def audit(self, twins: int, *options: str) -> tuple[float, dict[str, Any]]:
        """Returns (seconds from the start of the command to its end, the verdict with its timings)."""
        command = [sys.executable, "-m", "detctl_cli", "audit", "--twins", str(twins), "--json", "--timings", "--quiet"]
        began = time.perf_counter()
        done = subprocess.run(
            [*command, *options, "--", *self.command],
            cwd=self.folder,
            env=environment(),
            capture_output=True,
            text=True,
        )
        seconds = time.perf_counter() - began
        if done.returncode:
            sys.exit(done.stderr + done.stdout[-2000:])
        return seconds, json.loads(done.stdout)


def environment() -> dict[str, str]:
    folders = [str(ROOT / name) for name in ("proto", "agent", "coordinator", "cli")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}


def rows_for(folder: Path, threads: int, seconds: float) -> int:
    """Returns the size of the batch with which the script takes about so long, from two runs."""
    small, large = (Script(folder, rows, threads).alone_s() for rows in (SMALL, LARGE))
    each = max(large - small, 0.01) / (LARGE - SMALL)
    return max(SMALL, int(SMALL + (seconds - small) / each))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--twins", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    print(f"{cores} processors, load {load:.1f}; {options.twins} twins, {options.threads} thread(s) each")
    print("seconds        alone    audit  (ratio)   --parallel 1  (ratio)   at a time  detctl+services")
    best = {"audit": float("inf"), "one": float("inf")}
    with tempfile.TemporaryDirectory(prefix="detctl-bench-") as name:
        folder = Path(name)
        (folder / "train.py").write_text(TRAIN)
        script = Script(folder, rows_for(folder, options.threads, options.seconds), options.threads)
        for number in range(1, options.rounds + 1):
            before = script.alone_s()
            together, verdict = script.audit(options.twins)
            one, _ = script.audit(options.twins, "--parallel", "1")
            alone = (before + script.alone_s()) / 2
            best = {
                "audit": min(best["audit"], together / alone),
                "one": min(best["one"], one / alone),
            }
            found = verdict["timings"]
            at_a_time = (found["side_by_side"] or {"runs": 1, "reason": "?"})["runs"]
            own = sum(found["parts"].get(part, 0.0) for part in ("detctl", "services", "planning", "comparing"))
            print(
                f"round {number:<2}  {alone:8.1f}  {together:8.1f}  ({together / alone:.2f})  {one:13.1f}  ({one / alone:.2f})"
                f"  {at_a_time:10}  {own:14.1f}"
            )
    print(
        f"time to verdict of {options.twins} twins: {best['audit']:.2f} times one run alone; one after another {best['one']:.2f}"
        " (best rounds)"
    )


if __name__ == "__main__":
    main()
