"""`detctl doctor`: the environment, the interpreter, exit codes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from detctl_cli.doctor.interpreter import check_interpreter
from detctl_cli.doctor.variables import check_variables


def levels(variables, **options):
    return {
        finding.what.partition("=")[0].partition(" ")[0]: finding.level
        for finding in check_variables(variables, **options)
    }


def test_variables():
    plain = levels({}, has_cuda=True)
    assert plain == {"PYTHONHASHSEED": "info", "OMP_NUM_THREADS": "info", "CUBLAS_WORKSPACE_CONFIG": "warn"}
    assert levels({}, has_cuda=False)["CUBLAS_WORKSPACE_CONFIG"] == "ok"
    good = {
        "PYTHONHASHSEED": "0",
        "OMP_NUM_THREADS": "2",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "NVIDIA_TF32_OVERRIDE": "0",
    }
    assert set(levels(good).values()) == {"ok"}
    bad = {"PYTHONHASHSEED": "random", "NVIDIA_TF32_OVERRIDE": "1", "ATEN_CPU_CAPABILITY": "default"}
    assert levels(bad)["PYTHONHASHSEED"] == "info"
    assert levels(bad)["NVIDIA_TF32_OVERRIDE"] == "warn"
    assert levels(bad)["ATEN_CPU_CAPABILITY"] == "info"


def test_facts_of_an_interpreter():
    torch = {
        "version": "2.13",
        "matmul_tf32": True,
        "cudnn_benchmark": True,
        "cuda": True,
        "cudnn_tf32": True,
        "gpus": ["X"],
    }
    found = [(finding.level, finding.rule) for finding in check_interpreter({"python": "3.11", "torch": torch})]
    assert ("warn", "precision-mode") in found and ("warn", "nondeterministic-kernel") in found
    assert ("info", "precision-mode") in found
    (none,) = check_interpreter({"python": "3.11", "torch_problem": "ModuleNotFoundError: no torch"})
    assert none.level == "info"


@pytest.fixture
def python(tmp_path):
    """An interpreter without torch: -S keeps site-packages out."""
    path = tmp_path / "bare-python"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    path.chmod(0o755)
    return str(path)


def test_exit_codes_and_streams(cli, python, tmp_path):
    cwd = tmp_path / "cwd"
    (cwd / "bad.py").write_text("import os\n\nfiles = os.listdir('.')\n")
    (cwd / "good.py").write_text("import os\nfiles = sorted(os.listdir('.'))\n")
    bad = cli("doctor", "bad.py", "--python", python)
    assert bad.code == 1, bad.err
    assert "bad.py:3" in bad.out and "the result of os.listdir() is not sorted" in bad.out
    assert bad.out.rstrip().endswith("1 file read, 1 warning")
    good = cli("doctor", "good.py", "--python", python, "--json")
    assert good.code == 0
    assert good.json["schema"] == "detctl.doctor/v1"
    assert good.json["warnings"] == 0
    assert any("has no torch" in finding["what"] for finding in good.json["findings"])


def test_trouble(cli, python, tmp_path):
    (tmp_path / "cwd/broken.py").write_text("def f(:\n")
    broken = cli("doctor", "broken.py")
    assert broken.code == 2
    assert "broken.py:1: " in broken.err
    absent = cli("doctor", "--python", "no-such-python")
    assert absent.code == 2
    assert "no-such-python" in absent.err
    liar = Path(python).with_name("liar")
    liar.write_text("#!/bin/sh\necho 'no python here' >&2\nexit 3\n")
    liar.chmod(0o755)
    assert "no python here" in cli("doctor", "--python", str(liar)).err


def test_a_configured_coordinator_is_checked(cli, python, served):
    ran = cli("doctor", "--python", python, "--coordinator", served.address)
    assert ran.code == 0
    assert "answers" in ran.out
    served.stop()
    gone = cli("doctor", "--python", python, "--coordinator", served.address)
    assert gone.code == 1
    assert "start one with detctl-coordinator" in gone.out
