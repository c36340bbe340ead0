"""A real training in a shell full of credentials: none of them is in its recording, in a report, or open to other users."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SECRETS = {
    "DATABASE_URL": "postgres://bob:hunter2-Xq@db.example/app",
    "SLACK_WEBHOOK": "https://hooks.slack.example/services/T0001/B0001/XqXqXqXq",
    "SMTP_URL": "smtp://mailer:pw Xq/Xq@mail.example:25",
    "PGPASSWORD": "Xq-pg-password",
    "MY_SETTING": "Xq plain value of a setting",
}
OPTIONS = ["--api-password", "Xq-of-an-option", "--store=redis://:Xq-redis-pw@cache:6379/0"]
PIECES = (
    "hunter2-Xq",
    "T0001/B0001",
    "XqXqXqXq",
    "pw Xq",
    "Xq/Xq",
    "Xq-pg",
    "Xq plain",
    "value of a setting",
    "Xq-of-an",
    "Xq-redis",
)
READING = """
import os
rate = float(os.environ["LR"])
url = os.environ.get("DATABASE_URL", "")
"""
TRAIN = """
import torch
torch.manual_seed(0)
model = torch.nn.Linear(4, 2)
data = torch.arange(24.0).reshape(6, 4) / 24
for step in range(4):
    loss = model(data).square().mean()
    model.zero_grad()
    loss.backward()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= rate * parameter.grad
"""


@pytest.fixture
def shell(deployment):
    """A deployment with credentials in its variables, a script that reads some, and one that reads none."""
    (deployment.folder / "reading.py").write_text(READING + TRAIN)
    (deployment.folder / "blind.py").write_text("rate = 0.1\n" + TRAIN)
    return replace(deployment, environ={**deployment.environ, **SECRETS, "LR": "0.1"})


def record(deployment, name, script="reading.py", **changed):
    ran = replace(deployment, environ={**deployment.environ, **changed}).run(
        "record", "-o", name, "--steps", "0:3", "--", "python", script, *OPTIONS
    )
    assert ran.returncode == 0, ran.stderr
    (deployment.folder / f"{name}.printed").write_text(ran.stdout + ran.stderr)
    return deployment.folder / name


def leaks(text: str) -> list[str]:
    return [piece for piece in PIECES if piece in text]


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_no_file_of_a_recording_and_no_report_holds_a_credential(shell):
    one, other = record(shell, "one"), record(shell, "other", DATABASE_URL="postgres://bob:Xq-redis@db.example/app")
    for folder in (one, other):
        assert mode(folder) == mode(folder / "spool") == 0o700
        for path in files(folder):
            assert not leaks(path.read_bytes().decode("latin-1")), path
            assert mode(path) == 0o600, path
    variables = json.loads((one / "manifest.json").read_text())["variables"]
    assert variables["LR"] == "0.1", "the training read it"
    assert variables["OMP_NUM_THREADS"] == "1", "it can change numbers"
    for name in ("DATABASE_URL", "SLACK_WEBHOOK", "SMTP_URL", "MY_SETTING"):
        assert variables[name].startswith("[redacted "), name
    assert "PGPASSWORD" not in variables, "no training ever gets it"
    key = Path(shell.environ["HOME"]) / ".local/state/detctl/recording-key"
    assert mode(key) == 0o600
    assert not any(key.read_bytes().strip() in path.read_bytes() for path in files(one))

    compared = shell.run("compare", "one", "other", "--json", "--html", "page.html")
    assert compared.returncode == 0, compared.stdout + compared.stderr
    page = shell.folder / "page.html"
    assert mode(page) == 0o600
    assert not leaks(compared.stdout + compared.stderr + page.read_text())
    differing = json.loads(compared.stdout)["environment"]
    assert set(differing["variables.DATABASE_URL"].values()) == {"(value 1, not recorded)", "(value 2, not recorded)"}
    assert "variables.MY_SETTING" not in differing
    assert "variables.DATABASE_URL" in page.read_text()

    assert not leaks((shell.folder / "one.printed").read_text()), "the next command is shown as well"
    refused = shell.run("zoom", "one", "other")
    assert refused.returncode == 2 and "its command contains a credential, which was not recorded" in refused.stderr


def test_a_variable_that_nobody_read_is_no_cause_and_one_that_was_read_is_with_its_values(shell):
    record(shell, "base")
    record(shell, "rate", LR="0.2")
    shown = shell.run("compare", "base", "rate")
    assert shown.returncode == 1, shown.stderr
    assert "config-drift" in shown.stdout and "LR differs: 0.1 vs 0.2, read at reading.py:3" in shown.stdout
    record(shell, "blind1", "blind.py")
    record(shell, "blind2", "blind.py", MY_SETTING="Xq plain value two")
    verdict = json.loads(shell.run("compare", "blind1", "blind2", "--json").stdout)
    assert verdict["outcome"] == "identical"
    assert "variables.MY_SETTING" in verdict["environment"]
    assert not leaks(json.dumps(verdict))


def test_recordings_with_different_keys_do_not_differ(shell):
    record(shell, "here")
    elsewhere = str(shell.folder / "state")
    record(shell, "there", XDG_STATE_HOME=elsewhere)
    verdict = json.loads(shell.run("compare", "here", "there", "--json").stdout)
    assert verdict["outcome"] == "identical"
    assert not any(key.startswith("variables.") for key in verdict["environment"] if not key.endswith("XDG_STATE_HOME"))
    (found,) = [note for note in verdict["notes"] if "cannot be compared" in note]
    assert "DATABASE_URL" in found and "MY_SETTING" in found


def test_a_local_audit_leaves_nothing_open_to_others(shell):
    ran = shell.run("audit", "--twins", "2", "--steps", "0:3", "--json", "--", "python", "reading.py", *OPTIONS)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert not leaks(ran.stdout + ran.stderr)
    data = shell.folder / ".detctl"
    for path in files(data):
        assert not leaks(path.read_bytes().decode("latin-1")), path
    assert mode(data) == 0o700
    for name in ("store.sqlite", "logs/agent.log", "logs/coordinator.log"):
        assert mode(data / name) == 0o600, name
    for what in ("runs", "machines", "audits"):
        assert not leaks(shell.run(what, "--json").stdout)
    run = json.loads(shell.run("runs", "--json").stdout)["runs"][0]
    shown = shell.run("show", "-v", run.get("run_id") or run.get("id"))
    assert shown.returncode == 0 and "DATABASE_URL" in shown.stdout and not leaks(shown.stdout)
