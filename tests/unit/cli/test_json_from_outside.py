"""JSON that the command line reads from files and from a coordinator, and arguments that are not UTF-8."""

from __future__ import annotations

import os

import pytest
from detctl_cli.errors import CliError
from detctl_cli.local import known_answers
from detctl_cli.reporters.rows import machine_row
from detctl_cli.reporters.verdict import parse_verdict
from detctl_proto.v1.audits_pb2 import MachineInfo

DEEP = '{"a":' * 980 + "1" + "}" * 980
BAD = ["", "{", "[]", DEEP, "[" * 100_000, '{"schema": "detctl.kat/v1", "answers": []}', "\x00"]


@pytest.mark.parametrize("text", [*BAD, '{"schema": "detctl.kat/v1", "answers": {"cpu/gemm": 3}}'])
def test_a_file_without_answers_is_one_line(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(CliError) as refused:
        known_answers.read(path)
    assert refused.value.message.startswith(str(path)) and "\n" not in refused.value.message


def test_a_pipe_or_a_device_is_no_file_of_answers(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path, tmp_path / "absent"):
        with pytest.raises(CliError, match="cannot be read"):
            known_answers.read(path)


@pytest.mark.parametrize("text", BAD)
def test_what_a_coordinator_sends_never_ends_in_a_traceback(text):
    with pytest.raises(CliError):
        parse_verdict(text)
    row = machine_row(MachineInfo(name="a", manifest_json=text))
    assert isinstance(row["manifest"], dict)


def test_an_argument_that_is_not_utf8_is_one_line(cli, served):
    ran = cli("show", os.fsdecode(b"caf\xe9"), "--coordinator", served.address)
    assert ran.code == 2
    assert ran.err == "detctl: 'caf\\udce9' is not UTF-8; the coordinator accepts only UTF-8 text\n"
