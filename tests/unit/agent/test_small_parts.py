"""Addresses, token files, windows, log lines, manifests: the small parts."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import pytest
from detctl_agent import logs, manifest
from detctl_agent.client.channel import check_address, metadata, read_token
from detctl_agent.errors import AgentError
from detctl_agent.manifest.storage import file_system
from detctl_agent.runs.interpreter import interpreter_of
from detctl_agent.state.sockets import RuntimeFolder
from detctl_proto.log_lines import LineFormatter
from detctl_proto.security.redaction import RecordingKey


@pytest.mark.parametrize(
    ("given", "target"),
    [
        ("127.0.0.1:7450", "127.0.0.1:7450"),
        ("localhost:1", "localhost:1"),
        ("[::1]:7450", "[::1]:7450"),
        ("unix:/run/x", "unix:/run/x"),
        ("unix:///run/x", "unix:/run/x"),
    ],
)
def test_addresses_on_this_host(given: str, target: str) -> None:
    assert check_address(given) == target


@pytest.mark.parametrize(
    "given", ["10.0.0.1:7450", "example.org:7450", "0.0.0.0:7450", "[::]:1", "127.0.0.1", "x", "unix:a"]
)
def test_addresses_elsewhere_or_malformed_are_refused(given: str) -> None:
    with pytest.raises(AgentError) as caught:
        check_address(given)
    assert str(caught.value).startswith(f"--coordinator {given}: ")


def test_a_token_file_must_be_private(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("secret-token-0123\n")
    path.chmod(0o644)
    with pytest.raises(AgentError, match="chmod 600") as caught:
        read_token(path)
    assert "secret-token" not in str(caught.value)
    path.chmod(0o600)
    assert metadata("gpu1", read_token(path)) == (
        ("detctl-machine", "gpu1"),
        ("authorization", "Bearer secret-token-0123"),
    )
    assert metadata("gpu1", read_token(None)) == (("detctl-machine", "gpu1"),)


def test_log_lines_are_one_line_each() -> None:
    line = logs.line("event", run="r1.1", why='a "b"\nc\x1b[31m', empty="", none=None, share=0.5)
    assert line == "event run=r1.1 why=\"a 'b'?c?[31m\" share=0.500"


def test_a_traceback_keeps_its_lines_and_shows_no_credential() -> None:
    try:
        raise ValueError("cannot reach redis://sue:hunter2@host\x1b[2J")
    except ValueError:
        record = logging.LogRecord("detctl_agent.run", logging.ERROR, "", 0, "run_broke", None, sys.exc_info())
    first, *trace = LineFormatter().format(record).splitlines()
    assert first.endswith(" error run run_broke")
    assert "ValueError: cannot reach" in trace[-1] and "hunter2" not in trace[-1] and "\x1b" not in trace[-1]


def test_the_manifest_of_a_run(tmp_path: Path) -> None:
    variables = {
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "DROP_RATE": "0.5",
        "TMPDIR": f"{tmp_path}/run/tmp",
        "DETCTL_PROBE": "{}",
    }
    shown = manifest.RunVariables.of(variables, (("{run}", tmp_path / "run"),), RecordingKey(b"k" * 32))
    facts = manifest.run_manifest(
        "gpu1",
        interpreter=sys.executable,
        variables=variables,
        shown=shown,
        places={"data": str(tmp_path), "gone": "/nowhere"},
        recipe={"name": "digits"},
        environment={"name": "default"},
    )
    assert facts["machine"]["name"] == "gpu1"
    assert facts["machine"]["cores"] == os.cpu_count()
    assert facts["machine"]["kernel"] == os.uname().release
    assert facts["python"]["version"] == sys.version.split()[0]
    assert "pydantic" in facts["python"]["packages"]
    unread = {name: shown.key.mark(value, name) for name, value in (("DROP_RATE", "0.5"), ("TMPDIR", "{run}/tmp"))}
    assert facts["variables"] == {"LANG": "C.UTF-8", "TZ": "UTC", **unread}
    told = manifest.with_observed(facts, {}, shown, ["DROP_RATE"])
    assert told["variables"]["DROP_RATE"] == "0.5"
    assert told["variable_digests"] == {"DROP_RATE": unread["DROP_RATE"]}
    assert facts["locale"] == {"LANG": "C.UTF-8", "preferred_encoding": "UTF-8", "time_zone": "UTC"}
    assert facts["storage"]["gone"] == {"file_system": "missing", "path": "/nowhere"}
    assert facts["storage"]["data"]["file_system"] not in ("", "unknown")


def test_file_systems_by_the_longest_mount_point() -> None:
    assert file_system("/proc/self/status") == "proc"


def test_the_torch_section_is_what_the_probe_read() -> None:
    told = manifest.torch_section({"torch": "2.13.0", "threads": 2, "rank": 0, "packages": {"torch": "2.13.0"}})
    assert told == {"version": "2.13.0", "threads": 2}
    assert manifest.torch_section({}) == {}


def test_interpreters_of_commands(tmp_path: Path) -> None:
    script = tmp_path / "tool"
    script.write_text(f"#!{sys.executable}\n")
    script.chmod(0o755)
    assert interpreter_of(sys.executable, "/bin") == sys.executable
    assert interpreter_of("tool", str(tmp_path)) == sys.executable


def test_sockets_have_short_private_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / ("x" * 100)))
    folder = RuntimeFolder(tmp_path)
    try:
        assert len(os.fsencode(folder.socket)) < 50
        assert folder.path.stat().st_mode & 0o777 == 0o700
        assert folder.tmp.resolve() == tmp_path
    finally:
        folder.remove()
    assert not folder.path.exists()
    assert tmp_path.exists()


def test_a_runtime_folder_that_is_open_to_others_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "detctl").mkdir()
    (tmp_path / "detctl").chmod(0o777)
    folder = RuntimeFolder(None)
    try:
        assert not folder.path.is_relative_to(tmp_path)
    finally:
        folder.remove()
