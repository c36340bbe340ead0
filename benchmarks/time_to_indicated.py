"""Measures how long an audit takes to its first verdict, as a ratio to the same audit with an earlier revision of detctl.

    python benchmarks/time_to_indicated.py [--against REVISION] [--rounds 1] [CASE …]

The audits are those cases of tests/field that run on one machine, without experiments: two twins each. Both revisions audit each case in
turn, so that other load on the machine affects both. The last line is the median of the ratios.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.field.field_cases import Case, all_cases  # noqa: E402 - the repository's root is not on the path of a script

BEFORE = "36d180c"  # the last revision that named causes without measuring elements
DECIDED = (0, 1, 3)  # identical, different, unverified


def export(revision: str, folder: Path) -> None:
    """Writes the product's files of a revision to a folder, with the compiled digest of this checkout. Exits if git does not have it."""
    archive = subprocess.run(
        ["git", "archive", revision, "proto", "agent", "coordinator", "cli"], cwd=ROOT, capture_output=True
    )
    if archive.returncode:
        sys.exit(f"git has no revision {revision}; name another with --against: {archive.stderr.decode().strip()}")
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    for library in (ROOT / "agent/detctl_probe/digest/kernel").glob("*.so"):
        shutil.copy(library, folder / "agent/detctl_probe/digest/kernel")


def audit_s(product: Path, case: Case, work: Path) -> float:
    """Returns the seconds of one audit of a case, from the command's start to its verdict. Exits if there is no verdict."""
    folder = work / "training"
    shutil.copytree(case.folder, folder, ignore=shutil.ignore_patterns("case.toml", "__pycache__"))
    packages = os.pathsep.join(str(product / name) for name in ("proto", "agent", "coordinator", "cli"))
    own = {name: value.replace("{folder}", str(folder)) for name, value in case.variables.items()}
    variables = {**os.environ, **own, "PYTHONPATH": packages, "OMP_NUM_THREADS": "1"}
    try:
        for command in case.prepare:
            subprocess.run([sys.executable, *command], cwd=folder, env=variables, check=True, capture_output=True)
        detctl = [sys.executable, "-m", "detctl_cli", "audit", "--quiet", "--twins", "2", *case.options]
        began = time.perf_counter()
        done = subprocess.run(
            [*detctl, "--", sys.executable, *case.command], cwd=folder, env=variables, capture_output=True, text=True
        )
        seconds = time.perf_counter() - began
        if done.returncode not in DECIDED:
            sys.exit(f"{case.name} with {product}: exit code {done.returncode}: {done.stderr[-500:]}")
        return seconds
    finally:
        shutil.rmtree(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE")
    parser.add_argument("--against", default=BEFORE, metavar="REVISION")
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    cases = [case for case in all_cases() if case.mode == "audit" and case.name in (options.cases or [case.name])]
    if not cases:
        parser.error("no case of tests/field has such a name and runs on one machine")
    ratios = []
    with tempfile.TemporaryDirectory(prefix="detctl-bench-") as name:
        earlier, work = Path(name, "earlier"), Path(name, "work")
        earlier.mkdir()
        work.mkdir()
        export(options.against, earlier)
        print(f"load {os.getloadavg()[0]:.1f}; seconds to the first verdict, two twins\n")
        print(f"{'case':24} {options.against:>10}        now    ratio")
        for case in cases:
            # The first side of a pair may find the disk's cache cold, so the sides change places from round to round.
            rounds = [(ROOT, earlier) if number % 2 else (earlier, ROOT) for number in range(options.rounds)]
            times: dict[Path, list[float]] = {ROOT: [], earlier: []}
            for sides in rounds:
                for side in sides:
                    times[side].append(audit_s(side, case, work))
            before, now = min(times[earlier]), min(times[ROOT])
            ratios.append(now / before)
            print(f"{case.name:24} {before:10.1f} {now:10.1f} {now / before:8.2f}", flush=True)
    print(f"\nmedian ratio of {len(ratios)} cases: {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
