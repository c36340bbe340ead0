"""Runs the field's cases through the command line; prints a table and how many verdicts are right, abstain, and are wrong with confidence.

    python tests/field/run_field.py [NAME …] [--explain] [-j 2] [--twins 2] [--json FILE] [--page FILE] [--keep FOLDER] [--list]

--keep leaves the verdicts in a folder; --kept scores them again and runs nothing.

Exits 1 where a verdict is not right, unless known_wrong.toml lists it (or where one of those has become right).
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.e2e.deployment import Deployment
from tests.field.field_cases import ABSTAINED, FAILED, HALF, RIGHT, WRONG, Case, Score, Side, all_cases, load, score
from tests.support.printed_verdicts import read

KNOWN_WRONG = Path(__file__).parent / "known_wrong.toml"
GRADES = (RIGHT, HALF, ABSTAINED, WRONG, FAILED)
PRINTING = threading.Lock()


@dataclass(frozen=True)
class Result:
    """The verdict of a case, and its score."""

    case: Case
    verdict: dict[str, Any]
    text: str
    score: Score
    seconds: float


class Place:
    """Folders and a deployment of one case; everything is removed in the end."""

    def __init__(self, case: Case, stack: ExitStack) -> None:
        self.case = case
        self.root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="field")))
        self.memory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="field", dir="/dev/shm")))
        (self.root / "deployment").mkdir()
        self.deployment = Deployment(self.root / "deployment")
        stack.callback(self.deployment.close)

    def copy(self, side: Side, below: str = "") -> Path:
        """The folder of a side, with the scripts as the side has them; made once where both sides share it."""
        folder = (self.memory if side.tmpfs else self.root) / below / side.folder
        if not folder.exists():
            shutil.copytree(self.case.folder, folder, ignore=shutil.ignore_patterns("case.toml", "__pycache__"))
            self._prepare(folder, self.case.prepare)
        if side.edit:
            file, old, new = side.edit
            text = (folder / file).read_text()
            if old not in text:
                raise ValueError(f"{self.case.name}: {file} does not hold {old!r}")
            (folder / file).write_text(text.replace(old, new))
        self._prepare(folder, side.prepare)
        return folder

    def _prepare(self, folder: Path, commands: list[list[str]]) -> None:
        for command in commands:
            environment = {**self.deployment.environment, **self.case.variables}
            subprocess.run([sys.executable, *command], cwd=folder, env=environment, check=True, capture_output=True)

    def detctl(
        self, *arguments: str, cwd: Path, more: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        variables = {"OMP_NUM_THREADS": "1", "DETCTL_COORDINATOR": "", **self.case.variables, **(more or {})}
        variables = {name: value.replace("{folder}", str(cwd)) for name, value in variables.items()}
        return self.deployment.detctl(*arguments, cwd=cwd, env=variables, timeout_s=1200)

    def audit(self, options: list[str]) -> tuple[dict[str, Any], str]:
        work = self.copy(self.case.left)
        done = self.detctl("audit", *options, "--json", "--", "python", *self.case.command, cwd=work)
        found = read(done.stdout, done.stderr)
        return found, self.detctl("compare", "--audit", str(found.get("audit")), cwd=work).stdout

    def record(self) -> tuple[dict[str, Any], str]:
        outputs = []
        for name, side in (("left", self.case.left), ("right", self.case.right)):
            work, output = self.copy(side), self.root / f"{name}.rec"
            command = ("python", *self.case.command, *side.arguments)
            done = self.detctl(
                "record", "-o", str(output), *self.case.options, "--", *command, cwd=work, more=side.variables
            )
            if done.returncode:
                return read("", done.stderr), done.stderr
            outputs.append(str(output))
        done = self.detctl("compare", *outputs, "--json", cwd=self.root)
        return read(done.stdout, done.stderr), self.detctl("compare", *outputs, cwd=self.root).stdout

    def machines(self, options: list[str]) -> tuple[dict[str, Any], str]:
        self.deployment.coordinator()
        for name, side in (("left", self.case.left), ("right", self.case.right)):
            variables = {"OMP_NUM_THREADS": "1", **self.case.variables, **side.variables}
            pairs = ", ".join(f"{key} = {json.dumps(value)}" for key, value in variables.items())
            command = json.dumps(["python", *self.case.command, *side.arguments])
            self.deployment.agent(
                name,
                f'[recipes.case]\ncommand = {command}\nfolder = "{self.copy(side, name)}"\ntimeout_s = 300\n'
                f'[environments.default]\npython = "{sys.executable}"\nvariables = {{ {pairs} }}\n',
            )
        done = self.deployment.detctl("audit", "case", "--machines", "left,right", *options, "--json", timeout_s=1200)
        found = read(done.stdout, done.stderr)
        return found, self.deployment.detctl("compare", "--audit", str(found.get("audit"))).stdout


def run(case: Case, *, twins: int, explain: bool = False) -> Result:
    """Runs one case for real."""
    begun = time.monotonic()
    options = ["--twins", str(twins), *case.options]
    if explain or case.confirmed:
        options.append("--explain")
    with ExitStack() as stack:
        place = Place(case, stack)
        found, text = (
            {"audit": place.audit, "machines": place.machines}[case.mode](options)
            if case.mode != "record"
            else place.record()
        )
    return Result(case, found, text, score(case, found), time.monotonic() - begun)


def known_wrong() -> dict[str, str]:
    """Name of a case → why its verdict is not right yet."""
    return {name: str(reason) for name, reason in tomllib.loads(KNOWN_WRONG.read_text()).items()}


def line_of(result: Result, known: dict[str, str]) -> Iterator[str]:
    """A line of the table, and a line for each thing that is not right."""
    case, found = result.case, result.verdict
    named = ", ".join(c["cause"] + "*" * (c.get("confidence") == "confirmed") for c in found.get("causes", []))
    if found.get("updates_equal") is not None and found.get("outcome") == "identical":
        named = named or "evaluation only"
    yield (
        f"{case.name:24} {case.area:13} {case.mode:8} {found.get('outcome', '-'):10} {found.get('origin') or '-'!s:12} "
        f"{named or '-':34} {result.seconds:5.0f} s  {result.score.grade}"
    )
    yield from (f"    {text}" for text in result.score.wrong)
    if case.name in known:
        yield (
            f"    known: {known[case.name]}"
            if result.score.grade != RIGHT
            else "    is right now: take it out of known_wrong.toml"
        )


def rates(results: list[Result]) -> str:
    """How many are right, half right, abstain, are wrong with confidence, failed."""
    counts = Counter(result.score.grade for result in results)
    total = max(1, len(results))
    parts = [
        f"{grade.lower()} {counts[grade]} ({100 * counts[grade] / total:.0f} %)"
        for grade in GRADES
        if counts[grade] or grade != FAILED
    ]
    return f"{len(results)} cases: " + ", ".join(parts).replace("wrong ", "confidently wrong ", 1)


def document(results: list[Result]) -> dict[str, Any]:
    """The table for programs."""
    rows = [
        {
            "case": result.case.name, "area": result.case.area, "source": result.case.source, "grade": result.score.grade.lower(),
            "not_right": result.score.wrong, "outcome": result.verdict.get("outcome"), "origin": result.verdict.get("origin"),
            "causes": [{key: c.get(key) for key in ("cause", "confidence")} for c in result.verdict.get("causes", [])],
            "expected": {"outcome": result.case.outcome, "origin": result.case.origin, "causes": result.case.causes},
            "seconds": round(result.seconds, 1),
        }
        for result in results
    ]  # fmt: skip
    counts = Counter(row["grade"] for row in rows)
    return {"cases": rows, "counts": {grade.lower(): counts[grade.lower()] for grade in GRADES}}


def write_page(page: Path, table: dict[str, Any]) -> None:
    """Writes the table of `document` into a page, between its two markers."""
    rows = []
    for row in sorted(table["cases"], key=lambda row: (row["area"], row["case"])):
        expected = (
            ", ".join(cause.replace("|", " or ") for cause in row["expected"]["causes"]) or row["expected"]["outcome"]
        )
        found = ", ".join(cause["cause"] + "*" * (cause["confidence"] == "confirmed") for cause in row["causes"])
        report = row["source"][0].removeprefix("https://github.com/")
        link = f"[{report}]({row['source'][0]})"
        rows.append(
            f"| {row['area']} | `{row['case']}` | {link} | {expected} | {found or row['outcome']} | {row['grade']} |"
        )
    counts, total = table["counts"], len(table["cases"])
    summary = ", ".join(
        f"{grade}: {counts[grade]} ({100 * counts[grade] / total:.0f} %)" for grade in counts if counts[grade]
    )
    head = "| area | case | report | right answer | verdict (* confirmed) | score |\n|---|---|---|---|---|---|\n"
    before, _, rest = page.read_text().partition("<!-- table -->\n")
    after = rest.partition("<!-- end of table -->\n")[2]
    text = f"{total} cases. {summary[0].upper()}{summary[1:]}.\n\n{head}" + "\n".join(rows) + "\n"
    page.write_text(f"{before}<!-- table -->\n{text}<!-- end of table -->\n{after}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="cases; all where none is given")
    parser.add_argument("--explain", action="store_true", help="every audit with experiments")
    parser.add_argument("--twins", type=int, default=2)
    parser.add_argument("-j", "--jobs", type=int, default=1, help="so many cases at once")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the table for programs")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="folder for the verdicts")
    parser.add_argument(
        "--kept", type=Path, metavar="FOLDER", help="score the verdicts that --keep left there, and run none"
    )
    parser.add_argument("--page", type=Path, metavar="FILE", help="Markdown page whose table is replaced")
    parser.add_argument("--list", action="store_true", help="list the cases and run none")
    options = parser.parse_args()
    cases = [load(name) for name in options.names] or all_cases()
    if options.list:
        for case in cases:
            print(f"{case.name:24} {case.area:13} {case.mode:8} {case.outcome:10} {', '.join(case.causes)}")
        return 0
    for case in cases:
        if case.lacks():
            print(f"{case.name:24} skipped: this machine has no {', '.join(case.lacks())}", flush=True)
    cases = [case for case in cases if not case.lacks()]
    known = known_wrong()
    print(f"{'case':24} {'area':13} {'mode':8} {'found':10} {'origin':12} {'causes (* confirmed)':34}", flush=True)

    def one(case: Case) -> Result:
        try:
            if options.kept:
                found = json.loads((options.kept / f"{case.name}.json").read_text())
                result = Result(case, found, "", score(case, found), 0.0)
            else:
                result = run(case, twins=options.twins, explain=options.explain)
        except (OSError, ValueError, subprocess.SubprocessError) as error:  # one case must not end the table
            failed = {"outcome": "error", "unverified_because": [repr(error)]}
            result = Result(case, failed, "", score(case, failed), 0.0)
        with PRINTING:
            print("\n".join(line_of(result, known)), flush=True)
        if options.keep:
            options.keep.mkdir(parents=True, exist_ok=True)
            (options.keep / f"{case.name}.json").write_text(json.dumps(result.verdict, indent=1))
            (options.keep / f"{case.name}.txt").write_text(result.text)
        return result

    with ThreadPoolExecutor(options.jobs) as pool:
        results = list(pool.map(one, cases))
    print("\n" + rates(results))
    if options.json:
        options.json.write_text(json.dumps(document(results), indent=1) + "\n")
    if options.page:
        write_page(options.page, document(results))
    unexpected = [r.case.name for r in results if (r.score.grade == RIGHT) == (r.case.name in known)]
    if unexpected:
        print("not as listed: " + ", ".join(unexpected))
    return 1 if unexpected else 0


if __name__ == "__main__":
    sys.exit(main())
