"""`audit --explain` on real trainings: causes confirmed by setting them, decoys excluded, and nothing confirmed where nothing was shown."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from deployment import Deployment, catalog, make_numbers, wait_for

pytestmark = pytest.mark.slow

DECOYS = {"TOKENIZERS_PARALLELISM": "false", "MKL_DYNAMIC": "FALSE", "KMP_BLOCKTIME": "7"}


def with_variables(text: str, **more: str) -> str:
    told = ", ".join(f'{name} = "{value}"' for name, value in {"OMP_NUM_THREADS": "1", **more}.items())
    return text.replace('variables = { OMP_NUM_THREADS = "1" }', "variables = { " + told + " }")


def excluded(name: str, verdict: dict[str, Any]) -> bool:
    return any(f"env:{name}" in note and "excluded" in note for note in verdict["notes"])


def test_two_causes_are_confirmed_and_decoys_are_not(
    deployment: Deployment, numbers: Path, in_memory: Callable[[str], Path]
) -> None:
    memory = in_memory("numbers")
    make_numbers(memory)
    if os.listdir(numbers) == os.listdir(memory):
        pytest.skip("both file systems list alike here")
    deployment.agent("gpu1", catalog(numbers, arguments="--by-hand"))
    other = catalog(memory, arguments="--by-hand")
    deployment.agent(
        "gpu2", with_variables(other, ATEN_CPU_CAPABILITY="default", MKL_ENABLE_INSTRUCTIONS="AVX2", **DECOYS)
    )

    command = ("audit", "mlp", "--machines", "gpu1,gpu2", "--twins", "2", "--no-zoom", "--explain")
    verdict = deployment.verdict(*command, exit_code=1)
    confirmed = {cause["cause"]: cause["confirmed_by"] for cause in verdict["causes"]}
    assert confirmed == {"filesystem-order": "equalised", "cpu-isa": "swap"}, verdict
    assert all(cause["confidence"] == "confirmed" for cause in verdict["causes"])
    first, *rest = verdict["experiments"]
    assert first["released"] is None and first["result"] == "equal" and first["set"]["listing"] == "sorted"
    released = " ".join(row["released"] or "" for row in rest)
    assert all(f"env:{name}" in released for name in DECOYS) and "listing" in released, released
    for name in DECOYS:
        assert excluded(name, verdict), verdict["notes"]
    no_op = [note for note in verdict["notes"] if "MKL_ENABLE_INSTRUCTIONS" in note]
    if "AuthenticAMD" in Path("/proc/cpuinfo").read_text():  # Intel's own processors obey it
        assert no_op and "no-op" in no_op[0], verdict["notes"]
    assert verdict["cheapest_fix"]["suffices"], verdict["cheapest_fix"]
    assert set(verdict["cheapest_fix"]["set"]) == {"listing", "env:ATEN_CPU_CAPABILITY"}

    shown = deployment.detctl("show", "-v", verdict["audit"]).stdout
    assert "confirmed" in shown and "env:ATEN_CPU_CAPABILITY=default on both" in shown, shown


def test_explain_goes_on_from_the_runs_that_it_has(deployment: Deployment, numbers: Path) -> None:
    """A verdict first, experiments later; interrupted, the same command goes on."""
    extra = f'[environments.old]\npython = "{sys.executable}"\nvariables = {{ OMP_NUM_THREADS = "1", ATEN_CPU_CAPABILITY = "default" }}\n'
    deployment.agent("gpu1", catalog(numbers, arguments="--by-hand", environments=extra))
    command = ("audit", "mlp", "--machines", "gpu1", "--environments", "default,old", "--twins", "2", "--no-zoom")
    verdict = deployment.verdict(*command, exit_code=1)
    audit = verdict["audit"]
    assert verdict["experiments"] == [] and verdict["causes"][0]["confidence"] == "indicated"

    interrupted = deployment.popen("explain", audit)
    wait_for("an experiment runs", lambda: "/experiment-0" in deployment.detctl("show", audit, "--json").stdout)
    interrupted.send_signal(signal.SIGINT)
    assert interrupted.wait(60) == 130
    assert deployment.detctl("compare", "--audit", audit).returncode == 1, "the verdict stands"

    explained = deployment.verdict("explain", audit, exit_code=1)
    assert [(c["cause"], c["confirmed_by"]) for c in explained["causes"]] == [("cpu-isa", "swap")]
    runs = json.loads(deployment.detctl("runs", "--json").stdout)["runs"]
    assert sum("/twin-" in run["label"] for run in runs) == 4, "the twins were not run again"

    nobody = deployment.detctl("explain", "nobody")
    assert nobody.returncode == 2 and "nobody" in nobody.stderr and "Traceback" not in nobody.stderr


@pytest.mark.soak
def test_what_cannot_be_set_is_never_confirmed(deployment: Deployment, numbers: Path, tmp_path: Path) -> None:
    """Other data and a decoy: with the decoy made equal the machines still part."""
    others = make_numbers(tmp_path / "others")
    (others / "3.txt").write_text(" ".join("0.5" for _ in range(16)))
    deployment.agent("gpu1", catalog(numbers, arguments="--sort"))
    deployment.agent("gpu2", with_variables(catalog(others, arguments="--sort"), **DECOYS))
    verdict = deployment.verdict(
        "audit", "mlp", "--machines", "gpu1,gpu2", "--twins", "2", "--no-zoom", "--explain", exit_code=1
    )
    assert [cause["confidence"] for cause in verdict["causes"]] == ["indicated"] * len(verdict["causes"])
    assert [row["result"] for row in verdict["experiments"]] == ["different"]
    assert any("still diverge" in note for note in verdict["notes"])


@pytest.mark.soak
def test_a_machine_that_vanishes_in_the_middle(
    deployment: Deployment, numbers: Path, in_memory: Callable[[str], Path]
) -> None:
    """What was shown before stands, nothing is confirmed by runs that never came; when it is back, explain goes on."""
    memory = in_memory("numbers")
    make_numbers(memory)
    if os.listdir(numbers) == os.listdir(memory):
        pytest.skip("both file systems list alike here")
    deployment.kill("coordinator")
    deployment.coordinator_options = ("--machine-timeout", "8", "--lease", "5")
    deployment.coordinator()
    deployment.agent("gpu1", catalog(numbers))
    deployment.agent("gpu2", catalog(memory))
    command = ("audit", "mlp", "--machines", "gpu1,gpu2", "--twins", "2", "--no-zoom")
    audit = deployment.verdict(*command, exit_code=1)["audit"]
    explaining = deployment.popen("explain", audit, "--html", str(deployment.folder / "gone.html"))
    wait_for("an experiment runs", lambda: "/experiment-0" in deployment.detctl("show", audit, "--json").stdout)
    deployment.kill("agent-gpu2")
    assert explaining.wait(200) == 1, "the difference stands"
    gone = json.loads(deployment.detctl("compare", "--audit", audit, "--json").stdout)
    assert [cause["confidence"] for cause in gone["causes"]] == ["indicated"], gone
    assert any("gpu2" in row["words"] for row in gone["experiments"]), gone["experiments"]
    assert "filesystem-order" in (deployment.folder / "gone.html").read_text()

    deployment.agent("gpu2", catalog(memory))
    back = deployment.verdict("explain", audit, exit_code=1)
    assert [(c["cause"], c["confidence"]) for c in back["causes"]] == [("filesystem-order", "confirmed")], back


SCRIPT = """
import random, sys, time, uuid
import torch
torch.manual_seed(int(time.time_ns()) % 1000003 if "clock" in sys.argv else 0)
model = torch.nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(4):
    x = torch.full((3, 4), random.random() if "random" in sys.argv else 0.5)
    if "race" in sys.argv:
        x[0, 0] += time.perf_counter_ns() % 1000
    loss = model(x).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@pytest.mark.soak
@pytest.mark.parametrize(("fault", "cause"), [("random", "unseeded-rng"), ("race", None), ("clock", "identity-seed")])
def test_what_twins_draw_by_chance(deployment: Deployment, tmp_path: Path, fault: str, cause: str | None) -> None:
    (tmp_path / "script").mkdir()
    (tmp_path / "script" / "train.py").write_text(SCRIPT)
    folder = tmp_path / "script"
    recipe = f'[recipes.own]\ncommand = ["python", "train.py", "{fault}"]\nfolder = "{folder}"\ntimeout_s = 120\n'
    deployment.agent("gpu1", recipe + f'[environments.default]\npython = "{sys.executable}"\n')
    verdict = deployment.verdict(
        "audit", "own", "--machines", "gpu1", "--twins", "2", "--no-zoom", "--explain", exit_code=1
    )
    confirmed = [cause["cause"] for cause in verdict["causes"] if cause["confidence"] == "confirmed"]
    assert confirmed == ([cause] if cause else []), verdict
    assert verdict["origin"] == "code"
    assert verdict["experiments"][0]["result"] == ("equal" if cause else "different"), verdict


HIDDEN = """
import sys
from pathlib import Path
import torch
from torch.utils.data import DataLoader
here = float(Path(sys.argv[2], "scale.txt").read_text())
torch.manual_seed(int(here * 2) if "seed" in sys.argv else 0)
model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(), torch.nn.Linear(8, 1))
with torch.no_grad():
    model[0].weight.mul_(here)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
data = torch.linspace(0, here if "data" in sys.argv else 1, 96).reshape(24, 4)
for x in DataLoader(data, batch_size=6, shuffle=True, num_workers=1):
    y = model(x)
    if "behind" in sys.argv and here > 1:
        y = y * 1.0001
    loss = y.square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@pytest.mark.parametrize(
    ("faults", "what", "behind"),
    [
        pytest.param(["data"], "initial weights and batches", False, marks=pytest.mark.soak),
        pytest.param(["behind"], "initial weights", True, marks=pytest.mark.soak),
        pytest.param(["seed"], "initial weights and batches and generator states", False, marks=pytest.mark.soak),
    ],
)
def test_a_transplant_tells_what_lies_behind(
    deployment: Deployment, tmp_path: Path, faults: list[str], what: str, behind: bool
) -> None:
    """Weights and batches that come from data that differ hide what follows; with the first machine's it shows, or nothing does."""
    (tmp_path / "script").mkdir()
    (tmp_path / "script" / "train.py").write_text(HIDDEN)
    for name, scale in (("gpu1", "1.0"), ("gpu2", "1.5")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "scale.txt").write_text(scale)
        words = json.dumps(["python", "train.py", "--data", "{data}", *faults])
        deployment.agent(
            name,
            f'[recipes.hidden]\ncommand = {words}\nfolder = "{tmp_path / "script"}"\ntimeout_s = 120\npaths = ["data"]\n'
            f'allow_transplant = true\n[recipes.hidden.parameters]\ndata = "{tmp_path / name}"\n'
            f'[environments.default]\npython = "{sys.executable}"\n'
            f'variables = {{ TZ = "{"UTC" if name == "gpu1" else "Asia/Tokyo"}" }}\n',
        )
    command = ("audit", "hidden", "--machines", "gpu1,gpu2", "--twins", "2", "--no-zoom", "--explain", "--to-end")
    verdict = deployment.verdict(*command, exit_code=1)
    told = [row for row in verdict["experiments"] if f"takes the {what} of" in row["words"]]
    assert len(told) == 1, verdict["experiments"]
    assert told[0]["result"] == ("different" if behind else "equal"), told
    assert ("from step 0 · loss on" in told[0]["words"]) == behind, told
    assert not [cause for cause in verdict["causes"] if cause["confidence"] == "confirmed"]


MANY = """
import argparse, os
import torch
from torch.utils.data import DataLoader, Dataset

arguments = argparse.ArgumentParser()
arguments.add_argument("--data")
arguments.add_argument("--workers", type=int)
arguments = arguments.parse_args()


class Files(Dataset):
    def __init__(self):
        self.names = os.listdir(arguments.data)

    def __len__(self):
        return len(self.names)

    def __getitem__(self, index):
        with open(os.path.join(arguments.data, self.names[index])) as file:
            return torch.tensor([float(word) for word in file.read().split()]) + 0.1 * torch.rand(16)


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.body = torch.nn.Sequential(torch.nn.Linear(16, 256), torch.nn.GELU(), torch.nn.Linear(256, 16))
        self.wide = torch.nn.Parameter(torch.randn(1 << 20))

    def forward(self, x):
        return self.body(x).mean() + (self.wide * x.mean()).exp().sum() * 1e-6


torch.manual_seed(0)
model = Model()
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for batch in DataLoader(Files(), batch_size=16, shuffle=True, num_workers=arguments.workers):
    loss = model(batch).square()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""

EIGHT_DECOYS = {
    "TZ": "Asia/Tokyo", "LC_ALL": "C", "TOKENIZERS_PARALLELISM": "false", "CUDA_DEVICE_ORDER": "PCI_BUS_ID", "KMP_BLOCKTIME": "7",
    "NCCL_ALGO": "Ring", "PYTHONUTF8": "1", "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
}  # fmt: skip


@pytest.mark.soak
def test_four_of_twelve_settings(
    deployment: Deployment, numbers: Path, in_memory: Callable[[str], Path], tmp_path: Path
) -> None:
    """Must be shown: all four named and confirmed, the other eight excluded, in at most thirty experiments."""
    if (os.cpu_count() or 1) < 2:
        pytest.skip("one core: threads change nothing here")
    memory = in_memory("numbers")
    make_numbers(memory)
    (tmp_path / "script").mkdir()
    (tmp_path / "script" / "train.py").write_text(MANY)

    def text(data: Path, workers: int, variables: dict[str, str]) -> str:
        told = ", ".join(f'{name} = "{value}"' for name, value in variables.items())
        return (
            '[recipes.many]\ncommand = ["python", "train.py", "--data", "{data}", "--workers", "{workers}"]\n'
            f'folder = "{tmp_path / "script"}"\ntimeout_s = 120\npaths = ["data"]\n'
            f'[recipes.many.parameters]\ndata = "{data}"\nworkers = {workers}\n'
            f'[environments.default]\npython = "{sys.executable}"\nvariables = {{ {told} }}\n'
        )

    deployment.agent("gpu1", text(numbers, 0, {"OMP_NUM_THREADS": "1"}))
    other = {"OMP_NUM_THREADS": "2", "ATEN_CPU_CAPABILITY": "default", **EIGHT_DECOYS}
    deployment.agent("gpu2", text(memory, 2, other))
    command = ("audit", "many", "--machines", "gpu1,gpu2", "--twins", "2", "--no-zoom", "--to-end")
    audit = json.loads(deployment.detctl(*command, "--json", timeout_s=600).stdout)
    roots = {cause["cause"] for cause in audit["causes"]}
    done = deployment.detctl("explain", audit["audit"], "--json", timeout_s=1200)
    verdict = json.loads(done.stdout)
    told = {cause["cause"]: (cause["confidence"], cause["confirmed_by"]) for cause in verdict["causes"]}
    assert told == {
        "filesystem-order": ("confirmed", "equalised"),
        "worker-count": ("confirmed", "swap"),
        "thread-count": ("confirmed", "swap"),
        "cpu-isa": ("confirmed", "swap"),
    }, verdict
    assert sum(len(row["runs"]) for row in verdict["experiments"]) <= 30
    for name in EIGHT_DECOYS:
        assert excluded(name, verdict), (name, verdict["notes"])
    assert len(roots & set(told)) >= 2, roots
