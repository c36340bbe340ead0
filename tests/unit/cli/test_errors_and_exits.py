"""Exit codes and streams of the real process: 0, 1, 2, 3, 130; one line on stderr, or detctl.error/v1 on stdout."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("audi",), "did you mean audit?"),
        (("runs", "--limt", "3"), "--limit"),
        (("runs", "--limit", "1001"), "1<=x<=1000"),
        (("audit",), "a command after --"),
        (("audit", "digits"), "no coordinator is configured"),
        (("audit", "train.py"), "detctl audit -- python train.py"),
        (("audit", "digits", "--machines", "a", "--", "python", "x.py"), "both a recipe"),
        (("audit", "--machines", "a", "--", "python", "x.py"), "--machines does not go with"),
        (("audit", "--"), "there is no command after --"),
        (("audit", "--twins", "0", "--", "python", "x.py"), "--twins"),
        (("audit", "--steps", "5:5", "--", "python", "x.py"), "the window is empty"),
        (("audit", "--vary", "workers=0", "--", "python", "x.py"), "at least two values"),
        (("audit", "--set", "workers", "--", "python", "x.py"), "not NAME=VALUE"),
        (("audit", "--detach", "--", "python", "x.py"), "--detach does not go with"),
        (("audit", "--copy", "--in-place", "--", "python", "x.py"), "exclude each other"),
        (("compare",), "nothing to compare is given"),
        (("compare", "one"), "name two runs, two folders or two checkpoints"),
        (("compare", "./nowhere", "./neither"), "no such folder"),
        (("compare", "a", "b", "--machines", "x,y"), "do not go with"),
        (("record", "-o", "x"), "there is no command after --"),
        (("runs", "delete"), "give ids, --audit ID or --older-than AGE"),
        (("runs", "delete", "--older-than", "soon"), "is not a duration"),
        (("doctor", "absent.py"), "no such file"),
        (("machines", "--coordinator", "nonsense"), "is not an address"),
        (("machines", "--coordinator", "gpu1:7450"), "ssh -N -L 7450:127.0.0.1:7450 gpu1"),
    ],
)
def test_a_mistake_is_one_line_on_stderr_and_exit_2(cli, arguments, expected):
    ran = cli(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("detctl: ")
    assert ran.err.count("\n") == 1
    assert expected in ran.err


def test_under_json_an_error_is_a_document_on_stdout(cli):
    ran = cli("audit", "digits", "--json")
    assert (ran.code, ran.err) == (2, "")
    assert ran.json["schema"] == "detctl.error/v1"
    assert set(ran.json["error"]) == {"code", "message", "hint"}
    assert ran.json["error"]["code"] == "configuration"


def test_json_behind_the_dashes_belongs_to_the_training(cli):
    ran = cli("audit", "--vary", "x", "--", "python", "train.py", "--json")
    assert (ran.code, ran.out) == (2, "")
    assert "--vary x" in ran.err


def test_no_arguments_show_the_help(cli):
    ran = cli()
    assert ran.code == 2
    assert "audit" in ran.out + ran.err


def test_an_unreachable_coordinator_is_named_with_what_to_start(cli):
    ran = cli("machines", "--coordinator", "127.0.0.1:1")
    assert ran.code == 2
    assert "127.0.0.1:1" in ran.err
    assert "detctl-coordinator --listen 127.0.0.1:1" in ran.err


def test_a_proxy_variable_is_not_obeyed(cli, served, tmp_path):
    ran = cli(
        "audits", "--coordinator", served.address, http_proxy="http://127.0.0.1:9", https_proxy="http://127.0.0.1:9"
    )
    assert ran.code == 0, ran.err


@pytest.mark.parametrize("command", ["audit", "compare", "record", "doctor", "audits", "runs", "machines", "show"])
def test_every_command_has_help_with_an_example_and_json(cli, command):
    ran = cli(command, "--help", COLUMNS="200")
    assert ran.code == 0
    assert "Example" in ran.out
    assert f"detctl {command}" in ran.out
    assert "--json" in ran.out
    assert "\x1b" not in ran.out


def test_version(cli):
    ran = cli("--version")
    assert ran.code == 0
    assert ran.out.startswith("detctl ")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_cancels_the_audit(start_cli, served, number, code):
    served.fake.watch = [None]
    process = start_cli("audit", "digits", "--machines", "gpu1", "--coordinator", served.address)
    assert served.fake.watching.wait(60)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (code, "")
    assert served.fake.request("CancelAudit").audit_id == "a1"
    assert "cancelling audit a1" in err


@pytest.mark.parametrize(("outcome", "code"), [("identical", 0), ("different", 1), ("unverified", 3), ("else", 3)])
def test_the_outcome_is_the_exit_code(cli, served, outcome, code):
    served.fake.verdict["outcome"] = outcome
    ran = cli("compare", "r1", "r2", "--coordinator", served.address, "--json")
    assert ran.code == code
    assert ran.json == served.fake.verdict
    assert ran.err == ""


@pytest.mark.parametrize(
    ("arguments", "code"), [(("compare", "r1", "r2"), 0), (("compare", "r1", "r2", "--json"), 0), (("audits",), 2)]
)
def test_a_reader_that_went_away_makes_no_noise_and_decides_no_verdict(start_cli, served, arguments, code):
    served.fake.verdict["outcome"] = "identical"
    process = start_cli(*arguments, "--coordinator", served.address)
    process.stdout.close()  # before it has written anything: its interpreter is still starting
    assert process.stderr.read() == ""
    assert process.wait(60) == code


def test_closed_streams_do_no_harm(environ, served):
    command = [sys.executable, "-m", "detctl_cli", "audits", "--coordinator", served.address]
    shell = ["sh", "-c", 'exec "$@" <&- >&-', "sh", *command]
    ran = subprocess.run(shell, env=environ, capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_the_same_folder_by_another_spelling_is_named_twice(start_cli, cli, tmp_path):
    (tmp_path / "cwd/check").mkdir(parents=True, exist_ok=True)
    ran = cli("compare", "check", "./check")
    assert ran.code == 2
    assert "./check is named twice" in ran.err
