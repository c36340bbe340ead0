"""While an audit of a command runs, commands in a second terminal reach its coordinator."""

from __future__ import annotations

import json
import signal
import time

import pytest

pytestmark = pytest.mark.slow


def test_a_second_terminal_lists_attaches_detaches_and_cancels(deployment):
    first = deployment.start("audit", "--twins", "1", "--to-end", "--", "python", "train.py", "--endless")
    audits = []
    deadline = time.monotonic() + 120
    while not audits and time.monotonic() < deadline and first.poll() is None:
        listed = deployment.run("audits", "--json")
        audits = json.loads(listed.stdout).get("audits", [])
    assert [audit["state"] for audit in audits] == ["running"]
    audit = audits[0]["id"]
    attached = deployment.start("audit", "--attach", audit)
    assert "has 1 run" in attached.stderr.readline()
    attached.send_signal(signal.SIGINT)
    _, err = attached.communicate(timeout=60)
    assert attached.returncode == 130
    assert f"detctl cancel {audit}" in err
    assert first.poll() is None
    assert deployment.run("cancel", audit).stdout == f"audit {audit} was cancelled\n"
    _, err = first.communicate(timeout=60)
    assert first.returncode == 3, err
    assert "was cancelled" in err
    deployment.wait_until_nobody_is_left()
    assert "had already ended (cancelled)" in deployment.run("cancel", audit).stdout
