"""The socket: it never blocks for ever, and what it cannot send it drops loudly."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from detctl_probe.transport import connection, frames


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as made:
        made.bind(str(tmp_path / "s"))
        made.listen()
        yield made


def test_a_reader_that_takes_nothing_breaks_the_connection_not_the_program(
    tmp_path: Path, listener: socket.socket, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(connection, "BUFFER_BYTES_MAX", 1 << 20)
    monkeypatch.setattr(connection, "BACK_PRESSURE_S", 0.01)
    made = connection.Connection(str(tmp_path / "s"), b"hello")
    for _ in range(4):
        made.send(bytes(1 << 20))
    assert made.broken is not None
    assert made.drain(1.0) is False
    assert capfd.readouterr().err.count("\n") == 1
    assert made.poll() == []


def test_a_slow_reader_gets_everything(tmp_path: Path, listener: socket.socket) -> None:
    received = bytearray()

    def read() -> None:
        taken, _ = listener.accept()
        with taken:
            while data := taken.recv(1 << 16):
                received.extend(data)

    reader = threading.Thread(target=read)
    reader.start()
    made = connection.Connection(str(tmp_path / "s"), b"hello")
    sent = b"".join(bytes([n]) * 300_000 for n in range(10))
    for at in range(0, len(sent), 300_000):
        made.send(sent[at : at + 300_000])
    assert made.drain(30.0) is True
    made.close()
    reader.join()
    assert bytes(received) == b"hello" + sent


def test_a_reader_that_goes_away_is_noticed(
    tmp_path: Path, listener: socket.socket, capfd: pytest.CaptureFixture[str]
) -> None:
    made = connection.Connection(str(tmp_path / "s"), b"hello")
    made.send(b"x")
    taken, _ = listener.accept()
    taken.close()
    made.poll()
    assert made.broken is not None
    made.send(b"y")
    assert "the training continues" in capfd.readouterr().err


def test_a_stop_frame_is_read_without_waiting(tmp_path: Path, listener: socket.socket) -> None:
    made = connection.Connection(str(tmp_path / "s"), b"hello")
    assert made.poll() == []
    made.send(b"x")
    assert made.poll() == []
    taken, _ = listener.accept()
    taken.sendall(frames.stop_frame(4))
    assert made.poll() == [(frames.STOP, b"\4\0\0\0")]
    made.close()
    taken.close()


def test_garbage_from_the_reader_breaks_the_connection(
    tmp_path: Path, listener: socket.socket, capfd: pytest.CaptureFixture[str]
) -> None:
    made = connection.Connection(str(tmp_path / "s"), b"hello")
    made.send(b"x")
    taken, _ = listener.accept()
    taken.sendall(b"\xff" * 50)
    assert made.poll() == []
    assert made.broken is not None
    assert "a frame of" in capfd.readouterr().err
    taken.close()
