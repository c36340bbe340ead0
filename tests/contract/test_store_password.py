"""The password of a Redis: from a file, never on the screen, and what its owner is told who types it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from detctl_coordinator.main import main
from detctl_coordinator.server.settings import Settings
from detctl_coordinator.storage.address import has_password, hidden
from detctl_coordinator.storage.open_store import open_store
from detctl_coordinator.storage.store import StoreError
from servers import Server, server_binary

PASSWORD = "s3cr%41/:@?# t"


@pytest.fixture(params=["valkey", "redis"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """One that wants PASSWORD."""
    (tmp_path / "data").mkdir()
    running = Server(server_binary(request.param), tmp_path / "data", "--appendonly", "yes", "--requirepass", PASSWORD)
    try:
        running.start()
        yield running
    finally:
        running.remove()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text(PASSWORD + "\n")
    path.chmod(0o600)
    return path


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "detctl_coordinator.main", *arguments]
    path = ":".join(sys.path)
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env={"PYTHONPATH": path, **variables})


def test_a_file_has_the_password(server: Server, file: Path) -> None:
    open_store(server.address, password_file=file).close()
    with pytest.raises(StoreError, match="--store-password-file FILE"):
        open_store(server.address)
    file.write_text("wrong")
    with pytest.raises(StoreError, match="does not accept this user and password") as caught:
        open_store(server.address, password_file=file)
    assert "wrong" not in str(caught.value)


@pytest.mark.parametrize("kind", ["valkey", "redis"])
def test_a_server_that_quotes_the_password_is_not_repeated(kind: str, tmp_path: Path, file: Path) -> None:
    server = Server(server_binary(kind), tmp_path, "--rename-command", "AUTH", "")
    file.write_text("s3cret")
    try:
        server.start()
        with pytest.raises(StoreError, match="unknown command") as caught:
            open_store(server.address, password_file=file)
    finally:
        server.remove()
    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in str(caught.value.__cause__)


def test_the_command_takes_it_from_file_and_variable_and_never_shows_it(
    server: Server, file: Path, tmp_path: Path
) -> None:
    """Item 12 of issue 5: the only way in was the address, which `ps` shows."""
    words = ("check", "--store", server.address, "--store-password-file", str(file))
    by_variable = {"DETCTL_COORDINATOR_STORE": server.address, "DETCTL_COORDINATOR_STORE_PASSWORD_FILE": str(file)}
    copied = ("copy", *words[1:], "--to", f"sqlite:{tmp_path}/backup")
    for done in (run(*words), run("check", **by_variable), run(*copied)):
        assert done.returncode == 0, done.stderr
        assert not done.stderr
        assert PASSWORD not in done.stdout
    file.chmod(0o640)
    done = run(*words)
    assert done.returncode == 2
    assert done.stderr == f"detctl-coordinator: password file {file}: others can read it: chmod 600 {file}\n"


@pytest.mark.parametrize(
    ("text", "said"), [("", "is empty"), ("a\nb", "must hold one line"), ("a\x00b", "must hold one line")]
)
def test_a_file_that_holds_no_password(file: Path, text: str, said: str) -> None:
    file.write_text(text)
    with pytest.raises(StoreError, match=said):
        open_store("redis://127.0.0.1:1/0", password_file=file)


def test_two_passwords_or_one_too_many_are_refused(file: Path) -> None:
    with pytest.raises(StoreError, match="remove it from the address") as caught:
        open_store("redis://:other-secret@127.0.0.1:1/0", password_file=file)
    assert "other-secret" not in str(caught.value)
    with pytest.raises(StoreError, match="does not use a password"):
        open_store("sqlite:x", password_file=file)


@pytest.mark.parametrize(
    "address",
    [
        "redis://:s3cret@127.0.0.1:1/0",
        "rediss://me:s3cret@127.0.0.1:1/0",
        "redis://127.0.0.1:1/0?password=s3cret",
        "redis://h:1/s3cret@x",
    ],
)
@pytest.mark.parametrize("flag", ["--store", "--to"])
def test_who_types_a_password_is_told_where_it_belongs(
    capsys: pytest.CaptureFixture[str], address: str, flag: str, tmp_path: Path
) -> None:
    assert has_password(address)
    here = ["copy", "--store", f"sqlite:{tmp_path}/none"] if flag == "--to" else ["check"]
    assert main([*here, flag, address]) == 2
    warning, *rest = capsys.readouterr().err.splitlines()
    assert warning.startswith(f"warning: {flag} holds a password, which every user of this host can read")
    assert f"DETCTL_COORDINATOR_{flag[2:].upper()}" in warning
    assert f"{flag}-password-file FILE" in warning
    assert "s3cret" not in warning + "".join(rest)


@pytest.mark.parametrize(
    "address", ["redis://127.0.0.1:6379/0", "redis://me@h:6379/0", "unix:///run/redis.sock?db=0", "sqlite:a:b@c", ""]
)
def test_an_address_without_one_is_not_warned_of(address: str) -> None:
    assert not has_password(address)


def test_a_mistyped_command_line_and_a_setting_show_none(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (
        ["--stoer", "redis://:s3cret@h/0"],
        ["redis://me:s3cret@h/0"],
        ["--stoer=redis://h/0?password=s3cret"],
    ):
        assert main(words) == 2
    assert "s3cret" not in capsys.readouterr().err
    assert "s3cret" not in repr(Settings(store="redis://:s3cret@h/0", to="redis://:s3cret@h/0"))
    assert hidden("a redis://h/0 b") == "a redis://h/0 b"
