"""`detctl clean` after a real audit, and while one runs."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.slow


def cleaned(ran):
    assert ran.returncode == 0, ran.stderr
    document = json.loads(ran.stdout)
    return document, {row["what"]: row["count"] for row in document["removed"] if row["count"]}


def test_clean_removes_data_and_keeps_verdicts_and_never_disturbs_an_audit(deployment):
    ran = deployment.run("audit", "--twins", "1", "--steps", "0:2", "--json", "--", "python", "train.py", "--seed")
    audit = json.loads(ran.stdout)["audit"]
    below = deployment.folder / "below"
    below.mkdir()
    _, planned = cleaned(deployment.run("clean", "--all", "--dry-run", "--json"))
    assert (planned["run folders"], planned["fingerprints"]) == (1, 1)
    document, recent = cleaned(deployment.run("clean", "--json"))
    assert document["freed_bytes"] > 0
    assert "fingerprints" not in recent  # the audit is younger than a week
    _, removed = cleaned(deployment.run("clean", "--all", "--json"))
    assert removed == {"fingerprints": 1}
    assert [one["id"] for one in json.loads(deployment.run("audits", "--json").stdout)["audits"]] == [audit]
    assert json.loads(deployment.run("runs", "--json").stdout)["runs"] == []
    assert json.loads(deployment.run("show", audit, "--json").stdout)["audit"]["verdict"]["audit"] == audit
    assert deployment.run("clean", "--older-than", "1d", "--all").returncode == 2


def test_clean_refuses_while_the_lock_is_held(deployment):
    import fcntl

    data = deployment.folder / ".detctl"
    (data / "logs").mkdir(parents=True)
    (data / "logs/agent.log").write_text("in use")
    with open(data / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ran = deployment.run("clean", "--all")
    assert ran.returncode == 2
    assert "another detctl uses" in ran.stderr
    assert (data / "logs/agent.log").exists()
