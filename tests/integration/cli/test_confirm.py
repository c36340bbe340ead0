"""An audit goes on to confirm its causes, `detctl explain` works on local audits, and users vary their own variables and arguments."""

from __future__ import annotations

import json
import signal
import stat

import pytest

pytestmark = pytest.mark.slow

# A sum over 1000 values depends on the instruction set.
TRAIN = """
import os, sys, torch
torch.manual_seed(int(os.environ.get("SANITY_SEED", "0")))
rate = next((float(word[5:]) for word in sys.argv if word.startswith("--lr=")), 0.1)
model = torch.nn.Parameter(torch.ones(1))
optimizer = torch.optim.SGD([model], lr=rate)
data = torch.utils.data.TensorDataset(torch.randn(3, 1000))
for (x,) in torch.utils.data.DataLoader(data):
    loss = (x * model).sum() * 1e-4
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
AUDIT = ("audit", "--twins", "2", "--no-zoom", "--vary", "env:ATEN_CPU_CAPABILITY=default,avx2")


def test_an_indicated_verdict_is_printed_and_then_confirmed(deployment):
    (deployment.folder / "train.py").write_text(TRAIN)
    done = deployment.run(*AUDIT, "--confirm-within", "10m", "--", "python", "train.py")
    assert done.returncode == 1, done.stderr
    first, second = done.stdout.index("cpu-isa (indicated)"), done.stdout.index("cpu-isa (confirmed)")
    assert first < second
    assert "confirming the causes by experiment: at most" in done.stderr
    assert ": All-equal baseline" in done.stderr, "it is shown what is tried"


def test_interrupted_the_verdict_stands_and_explain_goes_on(deployment):
    (deployment.folder / "train.py").write_text(TRAIN)
    deployment.environ.update(HF_TOKEN="never-kept", SANITY_SEED="0")
    audit = deployment.start(*AUDIT, "--confirm-within", "10m", "--", "python", "train.py")
    assert audit.stderr is not None
    log = ""
    while ": All-equal baseline" not in log:
        line = audit.stderr.readline()
        assert line, log
        log += line
    audit.send_signal(signal.SIGINT)
    out, err = audit.communicate(timeout=60)
    assert audit.returncode == 1, log + err
    assert "cpu-isa (indicated)" in out and "confirmed" not in out
    assert "the experiments were interrupted; the verdict above stands; detctl explain" in err
    kept = deployment.folder / ".detctl" / "catalogs"
    (catalog,) = kept.glob("*.toml")
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept.iterdir()} == {0o600}
    assert "never-kept" not in "".join(path.read_text() for path in kept.iterdir())

    stored = deployment.run("compare", "--audit", catalog.stem, "--json")
    assert stored.returncode == 1 and json.loads(stored.stdout)["outcome"] == "different", stored.stderr
    deployment.environ["SANITY_SEED"] = "another shell, which would crash the training"
    explained = deployment.run("explain", catalog.stem, "--json")
    assert explained.returncode == 1, explained.stderr
    (cause,) = json.loads(explained.stdout)["causes"]
    assert (cause["cause"], cause["confidence"]) == ("cpu-isa", "confirmed")

    assert deployment.run("runs", "delete", "--audit", catalog.stem).returncode == 0
    assert list(kept.iterdir()) == [], "the command goes with its runs"
    unknown = deployment.run("explain", catalog.stem)
    assert unknown.returncode == 2 and "no audit of a command in this folder has the id" in unknown.stderr


def test_own_variables_and_arguments_are_varied(deployment):
    (deployment.folder / "train.py").write_text(TRAIN)
    vary = ("--vary", "env:SANITY_SEED=0,2", "--vary", "arg:--lr=0.1,0.01")
    done = deployment.run("audit", "--twins", "1", "--no-zoom", *vary, "--json", "--", "python", "train.py")
    assert done.returncode == 1, done.stderr
    verdict = json.loads(done.stdout)
    runs = {label.split("/")[2] for group in verdict["groups"] for label in group}
    assert len(verdict["groups"]) == 4, verdict["groups"]
    assert all("SANITY_SEED=" in label and "lr=" in label for label in runs), runs
    assert "confirming" not in done.stderr, "not in a pipe unless asked"


def test_experiments_that_do_not_fit_are_not_started(deployment):
    (deployment.folder / "train.py").write_text(TRAIN)
    vary = ("--vary", "arg:--lr=0.1,0.01")
    done = deployment.run(
        "audit", "--twins", "1", "--no-zoom", *vary, "--confirm-within", "0.1s", "--", "python", "train.py"
    )
    assert done.returncode == 1, done.stderr
    assert "the causes are not confirmed, because a run takes about" in done.stderr
    wrong = deployment.run("audit", "--confirm-within", "soon", "--", "python", "train.py")
    assert wrong.returncode == 2 and "--confirm-within: 'soon' is not a duration" in wrong.stderr
    secret = deployment.run("audit", "--vary", "env:API_TOKEN=1,2", "--", "python", "train.py")
    assert secret.returncode == 2 and "looks like a secret" in secret.stderr
