"""The one way to open a file: what is not a regular file of an allowed size is refused in one line, and nothing waits."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from detctl_proto.files import regular_file
from detctl_proto.files.regular_file import RegularFileError, open_regular, read_regular, read_tail
from detctl_proto.security import credentials


def refusal(path: object, limit: int = 100, *, follow: bool = False) -> RegularFileError:
    with pytest.raises(RegularFileError) as refused:
        read_regular(path, limit, follow=follow)  # type: ignore[arg-type]
    assert "\n" not in str(refused.value)
    return refused.value


def bound(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        os.chdir(path.parent)
        made.bind(path.name)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (os.mkfifo, "is a named pipe, not a regular file"),
        (os.mkdir, "is a folder, not a regular file"),
        (bound, "is a socket, not a regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "is a symbolic link, not a regular file"),
        (lambda path: path.symlink_to(path.name), "is a symbolic link"),
    ],
)
def test_what_is_not_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], object], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "x")
    assert message in str(refusal(tmp_path / "x"))
    for one in ("/dev/zero", "/dev/tty", "/dev/full"):
        assert not Path(one).exists() or "is a device" in str(refusal(one))


def test_links_are_followed_on_request_and_must_lead_to_a_file(tmp_path: Path) -> None:
    (tmp_path / "step100.pt").write_text("content")
    (tmp_path / "latest.pt").symlink_to("step100.pt")
    assert "symbolic link" in str(refusal(tmp_path / "latest.pt"))
    assert read_regular(tmp_path / "latest.pt", 100, follow=True) == b"content"
    (tmp_path / "zero").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "piped").symlink_to("pipe")
    assert "a device" in str(refusal(tmp_path / "zero", follow=True))
    assert "a named pipe" in str(refusal(tmp_path / "piped", follow=True))
    (tmp_path / "folder").symlink_to(".")
    assert (
        read_regular(tmp_path / "folder" / "step100.pt", 100) == b"content"
    )  # which folder is read is the user's choice


def test_sizes(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"x" * 100)
    assert read_regular(path, 100) == b"x" * 100
    assert str(refusal(path, 99)) == f"{path}: is larger than 99 bytes"
    os.truncate(path, 1 << 40)
    assert "larger than 2 MiB" in str(refusal(path, 2 << 20))
    assert read_tail(path, 10) == bytes(10)


def test_a_file_that_grows_or_shrinks_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"x")
    with open_regular(path, 10) as stream:
        path.write_bytes(b"x" * 1000)
        with pytest.raises(RegularFileError, match="larger than 10 bytes"):
            regular_file.read_up_to(stream, 10, path)
    with open_regular(path, None) as stream:
        os.truncate(path, 3)
        assert regular_file.read_up_to(stream, 1000, path) == b"xxx"


def test_what_is_missing_and_what_is_not_a_path(tmp_path: Path) -> None:
    assert refusal(tmp_path / "x").is_missing
    (tmp_path / "file").write_text("x")
    assert refusal(tmp_path / "file" / "below").is_missing
    assert not refusal(tmp_path).is_missing
    assert "is not a path" in str(refusal("a\0b"))
    assert "is not a path" in str(refusal("\ud800"))
    assert "too long" in str(refusal(tmp_path / ("x" * 300)))
    name = os.fsdecode(os.fsencode(tmp_path) + b"/\xff")
    assert "\\xff: No such file" in str(refusal(name))
    Path(name).write_text("y")
    assert read_regular(name, 10) == b"y"


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("x")
    path.chmod(0)
    if os.geteuid() == 0:
        pytest.skip("root may read every file")
    assert "Permission denied" in str(refusal(path))


def test_it_is_replaced_between_the_look_and_the_opening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    path.write_text("x")
    really = os.open

    def slow(*arguments: object) -> int:
        path.unlink()
        os.mkfifo(path)
        return really(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", slow)
    assert "a named pipe" in str(refusal(path))


def test_no_descriptor_is_left_and_none_is_inherited(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "x").write_text("x")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        refusal(tmp_path / "pipe")
        read_regular(tmp_path / "x", 10)
    assert len(os.listdir("/proc/self/fd")) == before
    with open_regular(tmp_path / "x", 10) as stream:
        assert not os.get_inheritable(stream.fileno())


def test_it_needs_the_standard_library_alone() -> None:
    """The command line stages it beside the checkpoint reader, for an interpreter that has none of our packages."""
    place = Path(regular_file.__file__)
    code = f"import sys; sys.path[:] = [p for p in sys.path if 'site-packages' not in p]; exec(open({str(place)!r}).read())"
    assert subprocess.run([sys.executable, "-I", "-S", "-c", code]).returncode == 0


def test_credentials_are_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "tls.key")
    with pytest.raises(credentials.CredentialsError, match="is a named pipe"):
        credentials.read_private(tmp_path / "tls.key")
    (tmp_path / "token").symlink_to("/dev/zero")
    with pytest.raises(credentials.CredentialsError, match="is a device"):
        credentials.read_private(tmp_path / "token")
