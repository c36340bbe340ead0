"""The known-answer test: equal answers on one machine, and different ones if an instruction set changes numbers."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import detctl_probe
from detctl_agent.manifest.known_answers import KnownAnswers, known_answers

PROBE = {"PYTHONPATH": str(Path(detctl_probe.__file__).parents[1])}


def test_the_same_machine_is_one_class_and_another_instruction_set_is_not(deployment) -> None:
    for name, more in (("a", {}), ("b", {}), ("old", {"ATEN_CPU_CAPABILITY": "default"})):
        before = dict(deployment.environ)
        deployment.environ.update(more)
        ran = deployment.run("kat", "--json")
        deployment.environ.clear()
        deployment.environ.update(before)
        assert ran.returncode == 0, ran.stderr
        document = json.loads(ran.stdout)
        assert document["seconds"] < 30 and {"cpu/gemm", "cpu/convolution", "cpu/rng-normal", "cpu/denormals"} <= set(
            document["answers"]
        )
        (deployment.folder / f"{name}.json").write_text(ran.stdout)

    # What an agent puts into the manifest, and with it into verdicts, is the class that `detctl kat` shows.
    of_agent = known_answers(
        sys.executable, dict(deployment.environ) | PROBE, KnownAnswers(deployment.folder / "cache")
    )
    assert of_agent["class"] == json.loads((deployment.folder / "a.json").read_text())["class"] != ""

    same = deployment.run("kat", "a.json", "b.json")
    assert same.returncode == 0 and same.stdout.startswith("EQUAL"), same.stdout
    other = deployment.run("kat", "a.json", "b.json", "old.json", "--json")
    result = json.loads(other.stdout)
    assert other.returncode == 1 and result["classes"] == [["a.json", "b.json"], ["old.json"]]
    assert result["differ"] and "cpu/rng-permutation" not in result["differ"]
    assert result["settings"]["old.json"]["cpu_capability"] == "DEFAULT"


def test_what_is_not_an_answer_is_reported_in_one_line(deployment) -> None:
    (deployment.folder / "x.json").write_text("{}")
    for arguments in (("x.json", "x.json"), ("missing.json", "x.json")):
        ran = deployment.run("kat", *arguments)
        assert ran.returncode == 2 and "Traceback" not in ran.stderr and arguments[0] in ran.stderr
    ran = deployment.run("kat", "--python", "/bin/false")
    assert ran.returncode == 2 and "Traceback" not in ran.stderr
