"""Runs the zoo through the command line and prints a confusion matrix: outcome, origin, causes (* confirmed), runs and seconds spent.

    python tests/zoo/run_zoo.py [NAME …] [--explain] [--twins 2] [--repeat 10] [--keep FOLDER]

Exits 1 where a verdict is wrong. Every case runs for real: a deployment (coordinator and two agents) for the machines, `detctl audit -- …` and
`detctl record` for the others.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.e2e.deployment import Deployment
from tests.support.printed_verdicts import read
from tests.zoo.zoo_cases import Case, all_cases, load, problems

FILES = 32
SIDES = ("left", "right")
# Facts in which the machines differ and which change nothing; none may ever be confirmed.
DECOYS = {
    "TZ": "Asia/Tokyo", "LC_ALL": "C", "TOKENIZERS_PARALLELISM": "false", "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    "KMP_BLOCKTIME": "7", "NCCL_ALGO": "Ring", "PYTHONUTF8": "1", "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    "MKL_DYNAMIC": "FALSE", "MKL_ENABLE_INSTRUCTIONS": "AVX2", "NCCL_PROTO": "Simple", "NCCL_DEBUG": "WARN",
    "CUDA_CACHE_DISABLE": "1", "CUDA_LAUNCH_BLOCKING": "0", "GLOO_SOCKET_IFNAME": "lo", "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1", "OMP_DISPLAY_ENV": "FALSE", "MALLOC_ARENA_MAX": "2",
}  # fmt: skip


def make_data(folder: Path, kind: str, side: str) -> None:
    """Files with eight numbers each; `kind` says what the right side has otherwise."""
    folder.mkdir(parents=True)
    numbers = list(range(FILES))
    if side == "right" and kind == "order":
        numbers.reverse()  # tmpfs lists by time of creation
    if side == "right" and kind == "missing":
        numbers.remove(13)
    for number in numbers:
        shift = 0.5 if side == "right" and kind == "content" and number == 7 else 0.0
        words = ((number * 31 + place * 17) % 23 / 23 + shift for place in range(8))
        (folder / f"{number:02}.txt").write_text(" ".join(f"{word:.6f}" for word in words))


def has_cuda() -> bool:
    """Whether a training here would find a GPU."""
    return shutil.which("nvidia-smi") is not None


class Zoo:
    """Runs cases below `folder`; `data` must be a tmpfs, so that the order of a listing is the order of creation."""

    def __init__(self, folder: Path, data: Path, twins: int, *, explain: bool) -> None:
        self.folder, self.data, self.twins = folder, data, twins
        self.more = ("--explain",) if explain else ()
        self.deployment = Deployment(folder / "deployment")

    def start(self, cases: list[Case]) -> None:
        """Starts the deployment where a case needs machines: one recipe a case in both catalogs."""
        wanted = [case for case in cases if case.mode == "machines"]
        if not wanted:
            return
        self.deployment.coordinator()
        for side in SIDES:
            self.deployment.agent(side, "\n".join(self._recipe(case, side) for case in wanted))

    def _recipe(self, case: Case, side: str) -> str:
        sources = self.folder / "sources" / side / case.name
        sources.mkdir(parents=True)
        text = case.script.read_text()
        if side == "right" and case.edit:
            text = text.replace(*case.edit)
        (sources / "train.py").write_text(text)
        data = self.data / side / case.name
        command, tail = ["python", "train.py"], ""
        if case.data:
            make_data(data, case.data, side)
            command += ["--data", "{data}"]
            tail = f'paths = ["data"]\n[recipes.{case.name}.parameters]\ndata = "{data}"\n'
        variables = {"OMP_NUM_THREADS": "1", **case.variables}
        variables |= case.left_variables if side == "left" else case.right_variables
        if case.decoys and side == "right":
            variables = {**DECOYS, **variables}
        pairs = ", ".join(f'{name} = "{value}"' for name, value in variables.items())
        return (
            f'[recipes.{case.name}]\ncommand = {json.dumps(command)}\nfolder = "{sources}"\ntimeout_s = 120\n{tail}'
            f'[environments.{case.name}]\npython = "{sys.executable}"\nvariables = {{ {pairs} }}\n'
        )

    def verdict(self, case: Case) -> tuple[dict[str, Any], str]:
        """The verdict as JSON, and as it reads on a terminal."""
        if case.mode == "machines":
            where = ("--machines", "left,right", "--environments", case.name)
            done = self.deployment.detctl(
                "audit", case.name, *where, "--twins", str(self.twins), *self.more, "--json", timeout_s=900
            )
            found = read(done.stdout, done.stderr)
            return found, self.deployment.detctl("compare", "--audit", str(found.get("audit"))).stdout
        work = self.folder / "work" / case.name
        work.mkdir(parents=True)
        shutil.copy2(case.script, work / "train.py")
        variables = {"OMP_NUM_THREADS": "1", "DETCTL_COORDINATOR": "", **case.variables}
        if case.mode == "audit":
            start = (
                "audit",
                "--twins",
                str(self.twins),
                *self.more,
                *case.options,
                "--json",
                "--",
                "python",
                "train.py",
            )
            done = self.deployment.detctl(*start, cwd=work, env=variables, timeout_s=900)
            found = read(done.stdout, done.stderr)
            text = self.deployment.detctl("compare", "--audit", str(found.get("audit")), cwd=work, env=variables).stdout
            return found, text
        for side, arguments in zip(SIDES, (case.left_arguments, case.right_arguments), strict=True):
            done = self.deployment.detctl(
                "record", "-o", side, "--", "python", "train.py", *arguments, cwd=work, env=variables
            )
            if done.returncode:
                return read("", done.stderr), done.stderr
        done = self.deployment.detctl("compare", *SIDES, "--json", cwd=work, env=variables)
        return read(done.stdout, done.stderr), self.deployment.detctl("compare", *SIDES, cwd=work, env=variables).stdout

    def close(self) -> None:
        self.deployment.close()


def run(
    cases: list[Case], twins: int, keep: Path | None = None, *, explain: bool = False
) -> list[tuple[Case, dict[str, Any], list[str], float]]:
    """(case, verdict, what is wrong with it, seconds) of each; verdicts as JSON and text in `keep` where it is given."""
    results = []
    with tempfile.TemporaryDirectory(prefix="zoo") as folder, tempfile.TemporaryDirectory(dir="/dev/shm") as data:
        (Path(folder) / "deployment").mkdir()
        zoo = Zoo(Path(folder), Path(data), twins, explain=explain)
        try:
            zoo.start(cases)
            for case in cases:
                if case.needs_cuda and not has_cuda():
                    print(f"{case.name:22} skipped: it needs an NVIDIA GPU", flush=True)
                    continue
                begun = time.monotonic()
                found, text = zoo.verdict(case)
                seconds = time.monotonic() - begun
                if keep is not None:
                    keep.mkdir(parents=True, exist_ok=True)
                    (keep / f"{case.name}.json").write_text(json.dumps(found, indent=1))
                    (keep / f"{case.name}.txt").write_text(text)
                results.append((case, found, problems(case, found, explained=explain), seconds))
                report(*results[-1])
        finally:
            zoo.close()
    return results


def report(case: Case, found: dict[str, Any], wrong: list[str], seconds: float) -> None:
    """One line of the table, and a line for each thing that is wrong."""
    named = ",".join(cause["cause"] + "*" * (cause["confidence"] == "confirmed") for cause in found.get("causes", []))
    tried = sum(len(row["runs"]) for row in found.get("experiments", []))
    row = (
        f"{case.name:22} {case.outcome:10} {found.get('outcome', '-'):10} {found.get('origin') or '-'!s:12} "
        f"{named or '-':36} {tried:4}"
    )
    print(f"{row} {seconds:5.0f} s  {'WRONG' if wrong else 'ok'}", flush=True)
    for line in wrong:
        print(f"    {line}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="cases; all where none is given")
    parser.add_argument("--twins", type=int, default=2)
    parser.add_argument("--explain", action="store_true", help="with experiments")
    parser.add_argument("--repeat", type=int, default=1, help="all cases so many times")
    parser.add_argument("--keep", type=Path, help="folder for the verdicts")
    options = parser.parse_args()
    cases = [load(name) for name in options.names] or all_cases()
    print(f"{'case':22} {'expected':10} {'found':10} {'origin':12} {'causes (* confirmed)':36} runs")
    results = [
        result
        for number in range(options.repeat)
        for result in run(
            cases,
            options.twins,
            options.keep and options.keep / str(number) if options.repeat > 1 else options.keep,
            explain=options.explain,
        )
    ]
    wrong = sum(1 for _, _, found, _ in results if found)
    matrix(results)
    print(f"{len(results) - wrong} of {len(results)} right")
    return 1 if wrong else 0


def matrix(results: list[tuple[Case, dict[str, Any], list[str], float]]) -> None:
    """Expected against found, by outcome, origin and first cause; and how often the cause was named and confirmed."""
    for title, want, got in (
        ("outcome", lambda case: case.outcome, lambda found: found.get("outcome")),
        ("origin", lambda case: case.origin or "-", lambda found: found.get("origin") or "-"),
        (
            "first cause",
            lambda case: case.causes[0] if case.causes else "-",
            lambda found: found["causes"][0]["cause"] if found.get("causes") else "-",
        ),
    ):
        counts = Counter((str(want(case)), str(got(found))) for case, found, _, _ in results)
        print(f"\n{title}: expected -> found")
        for (expected, found), count in sorted(counts.items()):
            print(f"  {count:3}  {expected} -> {found}{'' if expected == found else '   WRONG'}")
    named = [(case, {c["cause"]: c["confidence"] for c in found.get("causes", [])}) for case, found, _, _ in results]
    all_ = sum(len(case.causes) for case, _ in named)
    hit = sum(cause in found for case, found in named for cause in case.causes)
    sure = sum(found.get(cause) == "confirmed" for case, found in named for cause in case.causes)
    false = sum(set(found) - set(case.causes) != set() for case, found in named)
    print(
        f"\nplanted causes named {hit} of {all_}, confirmed {sure}; verdicts with a cause that was not planted: {false}"
    )


if __name__ == "__main__":
    sys.exit(main())
