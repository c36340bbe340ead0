"""`make gpu` without a GPU: what applies on the CPU passes, its document fits the schema, and no part takes another down."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "benchmarks" / "gpu" / "acceptance.py"
SCHEMA = json.loads((ROOT / "docs" / "gpu-acceptance.schema.json").read_text())
BLOCKED = (
    "click",
    "cryptography",
    "google",
    "grpc",
    "jinja2",
    "kubernetes",
    "prometheus_client",
    "pydantic",
    "redis",
    "rich",
    "yaml",
)


def acceptance(*arguments: str, script: Path = SCRIPT, timeout_s: float = 960.0) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(script), *arguments], capture_output=True, text=True, timeout=timeout_s)


def document(folder: Path, *arguments: str, script: Path = SCRIPT) -> tuple[int, dict[str, Any], str]:
    """(exit code, the document, which fits its schema, what was printed)."""
    file = folder / "acceptance.json"
    ran = acceptance("--json", str(file), *arguments, script=script)
    assert file.exists(), ran.stdout + ran.stderr
    found = json.loads(file.read_text())
    jsonschema.validate(found, SCHEMA)
    return ran.returncode, found, ran.stdout


def checks_listed() -> set[str]:
    ran = acceptance("--list")
    assert ran.returncode == 0, ran.stderr
    return {line.split("\t")[0] for line in ran.stdout.splitlines()}


@pytest.mark.slow
@pytest.mark.timeout(1000)  # about two minutes on two idle cores; a time limit of its own lies below this one
def test_what_applies_on_the_cpu_passes(tmp_path: Path) -> None:
    code, found, printed = document(tmp_path, "--cpu", "--time-limit", "900")
    assert [c for c in found["checks"] if c["status"] not in ("passed", "not-applicable")] == [], printed
    assert code == 0
    assert {c["name"] for c in found["checks"]} == checks_listed()
    assert found["counts"]["passed"] >= 40
    for part in found["parts"]:
        assert f"{part['name']} took" in printed


def test_without_a_gpu_it_reports_it_and_what_to_do() -> None:
    ran = acceptance("--only", "manifest")
    if "GPU here" not in ran.stderr:
        pytest.skip("this machine has a GPU")
    assert ran.returncode == 2
    assert "--cpu" in ran.stderr


def test_a_name_that_is_neither_a_part_nor_a_check() -> None:
    ran = acceptance("--cpu", "--only", "digset")
    assert ran.returncode == 1
    assert "digset" in ran.stderr and "--list" in ran.stderr and ran.stderr.count("\n") == 1


PLANTED_PARTS = """
import os, signal, sys
from checks import Check, CheckFailedError, NotApplicableError, Part

def fails(place):
    raise CheckFailedError("not as it should be", {"seen": 1})
def poisons(place):
    raise RuntimeError("CUDA error: device-side assert triggered")
def lacks(place):
    raise NotApplicableError("no such thing here")
def dies(place):
    print("last words", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGSEGV)
def hangs(place):
    signal.pause()
def process(place):
    return {"pid": os.getpid()}

def one(name, run):
    return Check(name, run, on_cpu=True)

PARTS = (
    Part("first", "dies in the middle", 30, (one("first.before", process), one("first.dies", dies), one("first.after", process)), 30),
    Part("second", "hangs", 30, (one("second.before", process), one("second.hangs", hangs), one("second.after", process)), 5),
    Part("third", "goes on", 30, (one("third.fails", fails), one("third.lacks", lacks), one("third.poisons", poisons),
         one("third.after", process), Check("third.gpu", process)), 30),
)
"""


def test_no_part_takes_another_down(tmp_path: Path) -> None:
    """One dies, one hangs, one fails: each check has its own answer, and the rest of a dead process gets a fresh one."""
    folder = tmp_path / "repository" / "benchmarks" / "gpu"
    shutil.copytree(SCRIPT.parent, folder, ignore=shutil.ignore_patterns("parts", "trainings", "__pycache__"))
    for source in ("proto", "agent", "coordinator"):
        (tmp_path / "repository" / source).symlink_to(ROOT / source)
    (folder / "parts.py").write_text(PLANTED_PARTS)
    code, found, printed = document(tmp_path, "--cpu", script=folder / "acceptance.py")
    assert code == 1
    checks = {check["name"]: check for check in found["checks"]}
    assert {name: check["status"] for name, check in checks.items()} == {
        "first.before": "passed", "first.dies": "crashed", "first.after": "passed",
        "second.before": "passed", "second.hangs": "timed-out", "second.after": "timed-out",
        "third.fails": "failed", "third.lacks": "not-applicable", "third.poisons": "failed", "third.after": "passed",
        "third.gpu": "not-applicable",
    }, printed  # fmt: skip
    assert "signal 11" in checks["first.dies"]["why"] and "last words" in checks["first.dies"]["why"]
    assert checks["first.before"]["figures"] != checks["first.after"]["figures"]
    assert checks["third.fails"]["figures"] == {"seen": 1} and checks["third.fails"]["why"] == "not as it should be"
    assert "the part's time was over before it began" in checks["second.after"]["why"]
    assert found["counts"] == {"passed": 4, "failed": 2, "not-applicable": 2, "timed-out": 2, "crashed": 1}


UNINSTRUMENTED = f"""
import sys


class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {BLOCKED!r}:
            raise ImportError("blocked " + name)


sys.meta_path.insert(0, Blocked())
sys.path.insert(0, {str(SCRIPT.parent)!r})
from checks import SOURCES
sys.path[:0] = SOURCES
import comparing, machine_facts, recording, together
import detctl_agent.manifest.gpu, detctl_agent.manifest.known_answers, detctl_agent.manifest.machine
from parts import PARTS
print(len(PARTS), sorted(name for name in sys.modules if name in {BLOCKED!r} or name == "torch"))
"""


def test_it_needs_no_package_beside_torch_triton_and_numpy() -> None:
    """Comparison and attribution included; torch itself is imported by the checks, not by what names them."""
    ran = subprocess.run([sys.executable, "-c", UNINSTRUMENTED], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "10 []\n"


def test_documentation_names_checks_that_exist() -> None:
    """Every claim about GPUs names its check, and states whether it was measured."""
    known = checks_listed()
    parts = {name.partition(".")[0] for name in known}
    found = 0
    naming = re.compile(rf"`((?:{'|'.join(sorted(parts))})(?:\.[a-z0-9*-]+)+)`")
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for name in naming.findall(page.read_text("utf-8")):
            pattern = re.compile(re.escape(name).replace(r"\*", ".*"))
            assert any(pattern.fullmatch(check) for check in known), f"{page.name} names {name}, which is not in --list"
            found += 1
    assert found >= 20


CLAIM = re.compile(r"\b(GPUs?|CUDA|NCCL|Triton|cuDNN|cuBLAS|sm_\d+)\b")
# Text that mentions GPUs but claims nothing about detctl on one: what a container may see, what an administrator sets.
NO_CLAIM = re.compile(
    r"all\sGPUs\sif\sthere\sare\sany|Pythons\sand\sCUDA|requests\sno\sGPU|groups that may use the GPUs|GPUs,\svolumes\sand\snodes"
)


@pytest.mark.parametrize("name", ["README.md", "docs/architecture.md", "docs/benchmarks.md", "docs/deploy.md"])
def test_every_paragraph_on_gpus_reports_whether_it_was_measured(name: str) -> None:
    for paragraph in (ROOT / name).read_text("utf-8").split("\n\n"):
        claims = re.sub(NO_CLAIM, "", paragraph)
        lines = [line for line in claims.splitlines() if CLAIM.search(line) and not line.startswith("#")]
        if lines and not all("gpu.md" in line for line in lines):
            assert re.search(r"\*unmeasured\*|\*measured on ", paragraph, re.IGNORECASE), lines[0]
