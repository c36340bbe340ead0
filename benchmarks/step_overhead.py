"""Measures the whole step's time of one training on the CPU, observed in six ways in one run: python benchmarks/step_overhead.py

    bare        an uninstrumented run
    module      the probe at level module: every module output, gradient, parameter, optimizer state, batch and sample
    budget      level module with --budget: the most expensive stages are sampled less often until the goal is met
    step        the probe at level step
    debugmode   torch's DebugMode with a hash_tensor of each op's output
    md5         hashlib.md5 of each module output, gradient and parameter

All sides of a case are processes that live at the same time. They take turns in blocks of steps, in another order in each round, so
that other load slows all of them. The first steps of each block do not count, because they use batches that the DataLoader's workers
fetched while other sides ran. A ratio is the median over rounds of (the side's median in the round / median of `bare` in the round).
The spread is the middle half of these ratios.
The table also has the CPU time of the training process, without its workers and the recorder. On a shared machine it varies less. Page
faults are the median of a step; sides differ in the memory that their allocator gives back and requests again.
`own count` is the time that the probe measured for itself in all counted steps together. Only this column shows `budget`, whose few
expensive steps no median contains. Ignore the line `probe 0.8 % of step time …` on stderr: between two blocks a side waits for the
others, and the line counts this wait as step time.
Sides with the probe run under `detctl-agent record --to-end`, which parses and stores what they send on the same cores.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SIDES = ("bare", "module", "budget", "step", "debugmode", "md5")
PROBED = ("module", "budget", "step")
SLOW = ("debugmode", "md5")
TARGETS = {
    ("resnet18", "module"): 5.0,
    ("tiny_gpt", "module"): 2.0,
    ("resnet18", "step"): 1.0,
    ("tiny_gpt", "step"): 1.0,
}
UNCOUNTED_STEPS = {0: 1, 2: 5}  # by number of workers: more than the batches that they have fetched ahead
GROWTH_MB_MAX = 50


@dataclass
class Side:
    """One training process, with the times of its counted steps by round."""

    name: str
    process: subprocess.Popen[bytes]
    orders: Any
    uncounted: int
    rounds: list[list[float]] = field(default_factory=list)
    cpu_rounds: list[list[float]] = field(default_factory=list)
    faults: list[int] = field(default_factory=list)
    own_s: float = 0.0  # the probe's own count in all counted steps
    answered: dict[str, Any] = field(default_factory=dict)

    def run(self, steps: int) -> None:
        """Runs uncounted steps, and then a block of counted steps."""
        self.orders.write(f"{self.uncounted + steps}\n")
        self.orders.flush()
        line = self.orders.readline()
        if not line:
            raise SystemExit(f"the {self.name} training died; its output is above")
        self.answered = json.loads(line)
        if steps:
            self.rounds.append(self.answered["steps"][self.uncounted :])
            self.cpu_rounds.append(self.answered["cpu"][self.uncounted :])
            self.faults.extend(self.answered["faults"][self.uncounted :])
            self.own_s += sum(self.answered["probe"][self.uncounted :])

    @property
    def own_share(self) -> float:
        """Returns the probe's own count as a share of the steps without it."""
        return self.own_s / (sum(map(sum, self.rounds)) - self.own_s)

    def end(self) -> None:
        self.orders.close()
        self.process.wait(60)


def probed(side: str, model: str) -> list[str]:
    """Returns the options of `record` for a side; none for a side without the probe."""
    if side == "budget":
        return ["--level", "module", "--budget", f"{TARGETS[(model, 'module')]:g}%"]
    return ["--level", side] if side in PROBED else []


def started(side: str, level: list[str], case: tuple[str, int, int], folder: Path) -> Side:
    """Starts the process of a side, which then waits for orders."""
    model, workers, threads = case
    address = folder / f"{side}.socket"
    command = [sys.executable, str(HERE / "_step_training.py"), str(address), side, model, str(workers), str(threads)]
    if level:
        record = ["record", "-o", str(folder / side), *level, "--to-end", "--"]
        command = [sys.executable, "-m", "detctl_agent.main", *record, *command]
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(address))
        listener.listen()
        listener.settimeout(120)
        environ = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        process = subprocess.Popen(command, cwd=folder, env=environ, stdout=subprocess.DEVNULL, stderr=None)
        connection, _ = listener.accept()
    orders = connection.makefile("rw")
    connection.close()
    orders.readline()
    return Side(side, process, orders, UNCOUNTED_STEPS.get(workers, 2 * workers + 1))


def measured(case: tuple[str, int, int], names: list[str], rounds: int, steps: int) -> dict[str, Side]:
    """Times all sides of a case in turns, and returns them."""
    with tempfile.TemporaryDirectory(prefix="step") as place:
        folder = Path(place)
        sides = {}
        try:
            for name in names:
                sides[name] = started(name, probed(name, case[0]), case, folder)
                sides[name].run(0)
            order = list(names)
            for number in range(rounds):
                random.Random(number).shuffle(order)
                for name in order:
                    # A side that hashes slowly needs fewer steps for a reliable figure.
                    sides[name].run(max(2, steps // 3) if name in SLOW else steps)
        finally:
            for side in sides.values():
                side.end()
    return sides


def report(case: tuple[str, int, int], sides: dict[str, Side]) -> None:
    """Prints the table of one case."""
    model, workers, threads = case
    base_wall, base_cpu = (
        [statistics.median(block) for block in rounds] for rounds in (sides["bare"].rounds, sides["bare"].cpu_rounds)
    )
    whole = statistics.median(second for seconds in sides["bare"].rounds for second in seconds)
    print(f"\n{model}, {workers} workers, {threads} threads: {whole * 1000:.1f} ms per uninstrumented step")
    print(
        "  side        ms a step   overhead   middle half of rounds   CPU time   middle half of rounds   steps"
        "   own count   page faults   memory"
    )
    for name, side in sides.items():
        every = [second for seconds in side.rounds for second in seconds]
        ratios = [statistics.median(seconds) / base for seconds, base in zip(side.rounds, base_wall, strict=True)]
        low, ratio, high = quartiles(ratios)
        cpu = [statistics.median(seconds) / base for seconds, base in zip(side.cpu_rounds, base_cpu, strict=True)]
        cpu_low, cpu_ratio, cpu_high = quartiles(cpu)
        target = TARGETS.get((model, name))
        text = f"  {name:10s} {statistics.median(every) * 1000:10.1f}   {(ratio - 1) * 100:+7.1f} %"
        text += f"   {(low - 1) * 100:+6.1f} to {(high - 1) * 100:+6.1f} %     {(cpu_ratio - 1) * 100:+6.1f} %"
        text += f"   {(cpu_low - 1) * 100:+6.1f} to {(cpu_high - 1) * 100:+6.1f} %      {len(every):5d}"
        text += f"   {side.own_share * 100:7.1f} %   {statistics.median(side.faults):11.0f}"
        if name in PROBED:
            more_mb = (side.answered["rss_kb"] - sides["bare"].answered["rss_kb"]) / 1024
            text += f"   {more_mb:+.0f} MB more than uninstrumented (goal: {GROWTH_MB_MAX})"
        else:
            text += f"   {side.answered['rss_kb'] / 1024:.0f} MB"
        if target is not None:
            text += f"   goal {target:.0f} %: {answer(target / 100, low - 1, ratio - 1, high - 1)}"
        print(text, flush=True)


def answer(target: float, low: float, ratio: float, high: float) -> str:
    """Returns whether the goal is met, or that rounds vary by more than twice the goal: such figures describe the machine."""
    if high - low > 2 * target:
        return "rounds vary too much for an answer"
    return "met" if ratio <= target else "NOT MET"


def quartiles(values: list[float]) -> tuple[float, float, float]:
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="resnet18,tiny_gpt")
    parser.add_argument("--workers", default="0,2")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--sides", default=",".join(SIDES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=8, help="counted steps a block")
    options = parser.parse_args()
    print(
        f"{os.cpu_count()} cores; {options.rounds} rounds of {options.steps} steps a side (a third for {', '.join(SLOW)})"
    )
    for model in options.models.split(","):
        for workers in options.workers.split(","):
            for threads in options.threads.split(","):
                case = (model, int(workers), int(threads))
                report(case, measured(case, options.sides.split(","), options.rounds, options.steps))


if __name__ == "__main__":
    main()
