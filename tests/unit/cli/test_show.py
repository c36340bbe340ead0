"""`detctl show` fits one screen of 24 lines and 80 columns, and `-v` shows everything."""

from __future__ import annotations

import json

import pytest
from detctl_cli.reporters.show.one_screen import LINES, first_lines, screen_lines

from .conftest import VERDICT


def big_audit():
    verdict = json.loads(json.dumps(VERDICT))
    verdict["notes"] = [f"note {number} " + "that is long " * 12 for number in range(40)]
    runs = [
        {
            "spec": {"run_id": f"a1.{number:03}"}, "state": "sealed",
            "outcome": {"end": "exit", "exit_code": 0, "wall_s": 2.0},
        }
        for number in range(60)
    ]  # fmt: skip
    request = {"recipe": "digits", "twins": 30, "machines": ["gpu1", "gpu2"], "requested_by": "ann"}
    return {
        "audit_id": "a1",
        "state": "done",
        "created_unix_s": 1.0,
        "request": request,
        "runs": runs,
        "verdict": verdict,
    }


def big_run():
    detail = {
        "share": {"total": 0.02, "by_stage": {}},
        "unobserved": [{"stage": "files", "what": f"thing {number}"} for number in range(50)],
    }
    return {
        "spec": {"run_id": "a1.000", "recipe": "digits", "machine": "gpu1", "level": "module", "step_from": 0, "step_to": 32},
        "state": "failed", "step": 7, "records": 1234,
        "outcome": {
            "end": "exit", "exit_code": 1, "message": "exit code 1", "wall_s": 3.25,
            "output_tail": "--- stderr ---\n" + "\n".join(f"line {number}\x1b[31m" for number in range(100)),
        },
        "seals": {str(rank): {"streams": {"loss/train": {}}, "detail": detail} for rank in range(64)},
        "manifest": {"python": {"version": "3.11.2"}, "recipe": {"command": ["python", "train.py", "x" * 500]}},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "content"), [("audit", big_audit()), ("run", big_run()), ("machine", {"name": "gpu1"})]
)
def test_every_kind_fits_one_screen_and_names_the_command_for_the_rest(cli, served, kind, content):
    served.fake.shown = (kind, content)
    ran = cli("show", "x1", "--coordinator", served.address)
    assert ran.code == 0, ran.err
    assert sum(map(screen_lines, ran.out.splitlines())) <= LINES
    assert "\x1b" not in ran.out
    assert "detctl show -v x1" in ran.out.splitlines()[-1]
    whole = cli("show", "-v", "x1", "--coordinator", served.address)
    assert kind == "machine" or len(whole.out) > 3 * len(ran.out)


def test_a_run_shows_its_command_its_end_its_coverage_and_its_last_output(cli, served):
    served.fake.shown = ("run", big_run())
    out = cli("show", "a1.000", "--coordinator", served.address).out
    lines = {line[:17].strip(): line[17:] for line in out.splitlines()}
    assert lines["command"].startswith("python train.py")
    assert lines["ended"] == "exit 1   after 3.2 s   exit code 1"
    assert lines["observed"] == "loss"
    assert "rank 0: 2.0 % of step time" in out
    assert "line 99" in out


def test_lines_that_do_not_fit_are_counted():
    assert first_lines(["a", "b"], 2, "whole") == ["a", "b"]
    assert first_lines(["a", "b" * 200, "c"], 3, "whole") == ["a", "  … 2 more lines: whole"]
    assert screen_lines("") == 1
    assert screen_lines("\x1b[1m" + "x" * 80 + "\x1b[0m") == 1
