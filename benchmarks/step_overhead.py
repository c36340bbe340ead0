"""Whole-step time on the CPU of one training seen six ways, side by side in one run: python benchmarks/step_overhead.py

    bare        nothing
    module      the probe at level module: every module output, gradient, parameter, optimizer state, batch and sample
    budget      the same with --budget of the aim at level module: what costs more is left out of some steps, and said
    step        the probe at level step
    debugmode   torch's DebugMode with a hash_tensor of each op's output
    md5         hashlib.md5 of each module output, gradient and parameter

All sides of a case are processes that live at the same time and of which one runs at a time: they take turns in blocks of steps, in
another order each round, so that a machine that slows down slows all of them. The first steps of each block are not counted:
they eat what the DataLoader's workers fetched while others ran. A ratio is the median over rounds of (the side's median in
that round / bare's median in that round); the spread is the middle half of these.
Beside wall time stands the CPU time of the training process itself (its workers' and the recorder's is not in it): on a machine
that others use too, it moves less. Page faults are those of a step (median): sides differ in what their allocator gives back and asks
for again.
`own count` is what the probe measured of itself in the counted steps, all of them together: it alone tells of `budget`, whose dear steps
are few, so that no median sees them. The line `probe 0.8 % of step time …` on stderr is no measure here: between two blocks a side waits
for the others, and that wait counts as its step time.
Probed sides run under `detctl-agent record --to-end`, which parses and stores what they send on the same cores.
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
UNCOUNTED_STEPS = {0: 1, 2: 5}  # by workers: more than they have fetched ahead
GROWTH_MB_MAX = 50


@dataclass
class Side:
    """One training process, and the times of its counted steps by round."""

    name: str
    process: subprocess.Popen[bytes]
    orders: Any
    uncounted: int
    rounds: list[list[float]] = field(default_factory=list)
    cpu_rounds: list[list[float]] = field(default_factory=list)
    faults: list[int] = field(default_factory=list)
    own_s: float = 0.0  # the probe's own count in all counted steps
    said: dict[str, Any] = field(default_factory=dict)

    def run(self, steps: int) -> None:
        """A block of counted steps, behind uncounted ones."""
        self.orders.write(f"{self.uncounted + steps}\n")
        self.orders.flush()
        line = self.orders.readline()
        if not line:
            raise SystemExit(f"the {self.name} training died; its output is above")
        self.said = json.loads(line)
        if steps:
            self.rounds.append(self.said["steps"][self.uncounted :])
            self.cpu_rounds.append(self.said["cpu"][self.uncounted :])
            self.faults.extend(self.said["faults"][self.uncounted :])
            self.own_s += sum(self.said["probe"][self.uncounted :])

    @property
    def own_share(self) -> float:
        """The probe's own count as a share of the steps without it."""
        return self.own_s / (sum(map(sum, self.rounds)) - self.own_s)

    def end(self) -> None:
        self.orders.close()
        self.process.wait(60)


def probed(side: str, model: str) -> list[str]:
    """The options of `record` for a side; none for those without the probe."""
    if side == "budget":
        return ["--level", "module", "--budget", f"{TARGETS[(model, 'module')]:g}%"]
    return ["--level", side] if side in PROBED else []


def started(side: str, level: list[str], case: tuple[str, int, int], folder: Path) -> Side:
    """The side's process, waiting for orders."""
    model, workers, threads = case
    address = folder / f"{side}.socket"
    words = [sys.executable, str(HERE / "_step_training.py"), str(address), side, model, str(workers), str(threads)]
    if level:
        record = ["record", "-o", str(folder / side), *level, "--to-end", "--"]
        words = [sys.executable, "-m", "detctl_agent.main", *record, *words]
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(address))
        listener.listen()
        listener.settimeout(120)
        environ = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        process = subprocess.Popen(words, cwd=folder, env=environ, stdout=subprocess.DEVNULL, stderr=None)
        connection, _ = listener.accept()
    orders = connection.makefile("rw")
    connection.close()
    orders.readline()
    return Side(side, process, orders, UNCOUNTED_STEPS.get(workers, 2 * workers + 1))


def measured(case: tuple[str, int, int], names: list[str], rounds: int, steps: int) -> dict[str, Side]:
    """All sides of a case, timed in turns."""
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
                    # What hashes slowly needs fewer steps to be known.
                    sides[name].run(max(2, steps // 3) if name in SLOW else steps)
        finally:
            for side in sides.values():
                side.end()
    return sides


def report(case: tuple[str, int, int], sides: dict[str, Side]) -> None:
    """One table a case."""
    model, workers, threads = case
    bare, bare_cpu = (
        [statistics.median(block) for block in rounds] for rounds in (sides["bare"].rounds, sides["bare"].cpu_rounds)
    )
    whole = statistics.median(second for seconds in sides["bare"].rounds for second in seconds)
    print(f"\n{model}, {workers} workers, {threads} threads: bare {whole * 1000:.1f} ms a step")
    print(
        "  side        ms a step   overhead   middle half of rounds   CPU time   middle half of rounds   steps"
        "   own count   page faults   memory"
    )
    for name, side in sides.items():
        every = [second for seconds in side.rounds for second in seconds]
        ratios = [statistics.median(seconds) / base for seconds, base in zip(side.rounds, bare, strict=True)]
        low, ratio, high = quartiles(ratios)
        cpu = [statistics.median(seconds) / base for seconds, base in zip(side.cpu_rounds, bare_cpu, strict=True)]
        cpu_low, cpu_ratio, cpu_high = quartiles(cpu)
        target = TARGETS.get((model, name))
        text = f"  {name:10s} {statistics.median(every) * 1000:10.1f}   {(ratio - 1) * 100:+7.1f} %"
        text += f"   {(low - 1) * 100:+6.1f} to {(high - 1) * 100:+6.1f} %     {(cpu_ratio - 1) * 100:+6.1f} %"
        text += f"   {(cpu_low - 1) * 100:+6.1f} to {(cpu_high - 1) * 100:+6.1f} %      {len(every):5d}"
        text += f"   {side.own_share * 100:7.1f} %   {statistics.median(side.faults):11.0f}"
        if name in PROBED:
            more_mb = (side.said["rss_kb"] - sides["bare"].said["rss_kb"]) / 1024
            text += f"   {more_mb:+.0f} MB against bare (aim: {GROWTH_MB_MAX})"
        else:
            text += f"   {side.said['rss_kb'] / 1024:.0f} MB"
        if target is not None:
            text += f"   aim {target:.0f} %: {answer(target / 100, low - 1, ratio - 1, high - 1)}"
        print(text, flush=True)


def answer(target: float, low: float, ratio: float, high: float) -> str:
    """Nothing is said of a target where rounds scatter by more than twice of it: then the machine was measured."""
    if high - low > 2 * target:
        return "rounds scatter too much to tell"
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
