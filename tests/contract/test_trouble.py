"""Stores that are full, gone, locked, foreign or unfit: one clear line, nothing acknowledged, and work goes on afterwards."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from detctl_coordinator.storage.open_store import open_store
from detctl_coordinator.storage.sqlite.store import SqliteStore
from detctl_coordinator.storage.store import Store, StoreError
from givens import FORWARD, a_run, a_segment, an_audit, ended, opened
from places import Place, make_place
from servers import Server, server_binary


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of its own with 4 MiB, of which `filler` takes half."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root may mount a tmpfs")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"cannot mount a tmpfs: {mounted.stderr.strip()}")
    try:
        (folder / "filler").write_bytes(bytes(2 << 20))
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(store: Store) -> tuple[int, StoreError]:
    """Writes segments of 100 kB until the store says no; how many it took, and what it said."""
    for number in range(1000):
        try:
            store.put_segment("run-1", 1, *a_segment(number, size=100_000))
        except StoreError as error:
            return number, error
    raise AssertionError("the disk never filled up")


def put_when_possible(store: Store, number: int) -> None:
    """Redis looks for space once a second: tries until it has."""
    pause = threading.Event()
    for _ in range(600):
        try:
            return store.put_segment("run-1", 1, *a_segment(number, size=100_000))
        except StoreError:
            pause.wait(0.05)
    raise AssertionError("never worked again")


def assert_intact(store: Store, count: int) -> None:
    assert [meta.number for meta in store.segment_metas("run-1", 0)][:count] == list(range(count))
    blobs = store.segment_columns("run-1", 0, range(count))
    assert all(blobs[number] == a_segment(number, size=100_000)[1] for number in range(count))
    assert store.streams("run-1")[FORWARD] >= 2 * count


class TestFullDisk:
    def test_sqlite(self, small_disk: Path) -> None:
        store = SqliteStore(small_disk / "store.db")
        opened(store)
        count, error = fill(store)
        assert count > 5 and "disk is full" in str(error) and "\n" not in str(error)
        assert_intact(store, count)
        (small_disk / "filler").unlink()
        store.put_segment("run-1", 1, *a_segment(count, size=100_000))
        store.close()
        store = SqliteStore(small_disk / "store.db")
        assert_intact(store, count + 1)
        store.close()

    @pytest.mark.parametrize("kind", ["valkey", "redis"])
    def test_server_that_syncs_every_second(self, kind: str, small_disk: Path) -> None:
        for place in make_place(kind, small_disk, "everysec"):
            store = place.open()
            opened(store)
            count, error = fill(store)
            assert count > 5 and "disk" in str(error) and "\n" not in str(error)
            assert_intact(store, count)
            (small_disk / "filler").unlink()
            put_when_possible(store, count)
            assert_intact(store, count + 1)

    @pytest.mark.parametrize("kind", ["valkey", "redis"])
    def test_server_that_dies_with_its_disk_full(self, kind: str, small_disk: Path) -> None:
        # Such a server answers the first write that does not fit as if it were stored; only its memory has it.
        for place in make_place(kind, small_disk, "everysec"):
            store = place.open()
            opened(store)
            count, _ = fill(store)
            assert place.server is not None
            place.server.kill()
            (small_disk / "filler").unlink()
            place.server.start()
            assert_intact(store, count)
            store.put_segment("run-1", 1, *a_segment(count, size=100_000))

    @pytest.mark.parametrize("kind", ["valkey", "redis"])
    def test_server_that_syncs_always_gives_up_and_loses_nothing(self, kind: str, small_disk: Path) -> None:
        for place in make_place(kind, small_disk, "always"):
            store = place.open()
            opened(store)
            count, error = fill(store)
            assert count > 5 and "\n" not in str(error)
            (small_disk / "filler").unlink()
            assert place.server is not None
            place.server.kill()
            place.server.start()
            assert_intact(store, count)
            store.put_segment("run-1", 1, *a_segment(count, size=100_000))


class TestGone:
    def test_a_server_that_does_not_answer(self, server_place: Place) -> None:
        place = server_place
        assert place.server is not None
        store = place.open(timeout_s=0.3)
        opened(store)
        place.server.process.send_signal(signal.SIGSTOP)
        with pytest.raises(StoreError, match="did not answer in time"):
            store.put_segment("run-1", 1, *a_segment(0))
        place.server.process.send_signal(signal.SIGCONT)
        put_when_possible(store, 1)
        assert store.check() == []

    def test_a_server_that_dies(self, server_place: Place) -> None:
        place = server_place
        assert place.server is not None
        store = place.open(timeout_s=1.0)
        opened(store)
        place.server.kill()
        for call in (
            lambda: store.put_segment("run-1", 1, *a_segment(0)),
            lambda: store.audits(),
            lambda: store.check(),
            lambda: store.segment_columns("run-1", 0, [0]),
        ):
            with pytest.raises(StoreError, match="cannot be reached"):
                call()
        place.server.start()
        store.put_segment("run-1", 1, *a_segment(0))

    def test_nobody_listens(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        with pytest.raises(StoreError, match="cannot be reached") as caught:
            open_store(f"redis://user:s3cret@127.0.0.1:{port}/0")
        assert "s3cret" not in str(caught.value) and f"127.0.0.1:{port}" in str(caught.value)


class TestUnfitRedis:
    @pytest.mark.parametrize("kind", ["valkey", "redis"])
    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (("--appendonly", "no"), "appendonly no"),
            (("--appendonly", "yes", "--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru"), "allkeys-lru"),
        ],
    )
    def test_is_refused_unless_allowed(self, kind: str, options: tuple[str, ...], said: str, tmp_path: Path) -> None:
        server = Server(server_binary(kind), tmp_path, *options)
        server.start()
        try:
            with pytest.raises(StoreError, match=said) as caught:
                open_store(server.address)
            assert "\n" not in str(caught.value)
            store = open_store(server.address, allow_volatile=True)
            assert any(said in text for text in store.check())
            store.close()
        finally:
            server.remove()

    def test_everysec_is_taken_with_a_warning(self, tmp_path: Path) -> None:
        for place in make_place("valkey", tmp_path, "everysec"):
            (warning,) = place.open().check()
            assert "appendfsync everysec" in warning

    def test_out_of_memory_is_not_acknowledged(self, tmp_path: Path) -> None:
        server = Server(server_binary("valkey"), tmp_path, "--appendonly", "yes", "--maxmemory", "4mb")
        server.start()
        try:
            store = open_store(server.address)
            opened(store)
            count, error = fill(store)
            assert "memory" in str(error)
            assert_intact(store, count)
            store.close()
        finally:
            server.remove()

    def test_a_user_with_least_rights_is_enough(self, tmp_path: Path) -> None:
        for place in make_place("redis", tmp_path, "always"):
            assert place.server is not None
            rights = "on >s3cret ~detctl:* -@all +@read +@write +@connection +@scripting -@dangerous +info"
            redis.Redis.from_url(place.server.address).execute_command("ACL", "SETUSER", "detctl", *rights.split())
            address = place.server.address.replace("unix://", "unix://detctl:s3cret@")
            store = open_store(address)
            (warning,) = store.check()
            assert "CONFIG is not allowed" in warning and "s3cret" not in warning
            opened(store)
            store.put_segment("run-1", 1, *a_segment(0))
            assert store.streams("run-1")[FORWARD] == 2
            assert store.delete_older_than(2000.0) == []
            store.close()
            with pytest.raises(StoreError, match="user and password") as caught:
                open_store(address.replace("s3cret", "guess"))
            assert "guess" not in str(caught.value)

    def test_a_newer_schema(self, tmp_path: Path) -> None:
        for place in make_place("valkey", tmp_path, "always"):
            place.open()
            assert place.server is not None
            redis.Redis.from_url(place.server.address).set("detctl:{audits}:schema", 9)
            with pytest.raises(StoreError, match="newer detctl"):
                place.open()


class TestSqliteFile:
    def test_a_second_coordinator_is_refused(self, tmp_path: Path) -> None:
        store = SqliteStore(tmp_path / "store.db")
        with pytest.raises(StoreError, match=rf"in use by another coordinator \(pid {os.getpid()}\)"):
            SqliteStore(tmp_path / "store.db")
        store.close()
        SqliteStore(tmp_path / "store.db").close()

    def test_the_lock_of_a_dead_coordinator_does_not_count(self, tmp_path: Path) -> None:
        (tmp_path / "store.db.lock").write_text("1\n")
        SqliteStore(tmp_path / "store.db").close()
        with (tmp_path / "store.db.lock").open() as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            with pytest.raises(StoreError, match="in use"):
                SqliteStore(tmp_path / "store.db")

    def test_a_newer_schema(self, tmp_path: Path) -> None:
        SqliteStore(tmp_path / "store.db").close()
        with sqlite3.connect(tmp_path / "store.db") as connection:
            connection.execute("PRAGMA user_version = 9")
        with pytest.raises(StoreError, match=r"newer detctl.*schema is 9"):
            SqliteStore(tmp_path / "store.db")

    def test_a_database_of_somebody_else_is_left_alone(self, tmp_path: Path) -> None:
        with sqlite3.connect(tmp_path / "store.db") as connection:
            connection.execute("CREATE TABLE photos (name TEXT)")
        connection.close()
        before = (tmp_path / "store.db").read_bytes()
        with pytest.raises(StoreError, match="not detctl's"):
            SqliteStore(tmp_path / "store.db")
        assert (tmp_path / "store.db").read_bytes() == before

    def test_no_database_at_all(self, tmp_path: Path) -> None:
        (tmp_path / "store.db").write_text("step,loss\n" * 1000)
        with pytest.raises(StoreError, match="damaged or not an SQLite database"):
            SqliteStore(tmp_path / "store.db")

    def test_a_file_that_another_program_locks(self, tmp_path: Path) -> None:
        store = SqliteStore(tmp_path / "store.db", timeout_s=0.6)
        opened(store)
        other = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked by another program"):
            store.put_segment("run-1", 1, *a_segment(0))
        other.execute("ROLLBACK")
        other.close()
        store.put_segment("run-1", 1, *a_segment(0))
        store.close()

    def test_a_folder_that_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(StoreError, match="cannot make the folder"):
            SqliteStore(tmp_path / "file" / "store.db")

    def test_space_comes_back_after_a_deletion(self, tmp_path: Path) -> None:
        store = SqliteStore(tmp_path / "store.db")
        audit = store.put_audit(an_audit(a_run()))
        store.open_attempt("run-1", 1)
        for number in range(40):
            store.put_segment("run-1", 1, *a_segment(number, size=100_000))
        ended(store, audit)
        assert store.delete_runs(["run-1"]) == ["run-1"]
        store.close()
        assert (tmp_path / "store.db").stat().st_size < 1_000_000

    def test_is_for_its_owner_alone(self, tmp_path: Path) -> None:
        store = SqliteStore(tmp_path / "new" / "store.db")
        opened(store)
        files = list((tmp_path / "new").iterdir())
        assert {file.stat().st_mode & 0o777 for file in files} == {0o600} and len(files) == 4
        store.close()

    def test_threads_that_end_leave_no_open_files(self, tmp_path: Path) -> None:
        store = SqliteStore(tmp_path / "store.db")
        for _ in range(3):
            before = len(os.listdir("/proc/self/fd"))
            for _ in range(20):
                thread = threading.Thread(target=store.audits)
                thread.start()
                thread.join()
        assert len(os.listdir("/proc/self/fd")) <= before + 2
        store.close()

    @pytest.mark.parametrize("replaced", [False, True])
    def test_a_file_that_was_deleted_takes_nothing_more(self, tmp_path: Path, replaced: bool) -> None:
        file = tmp_path / "a; b %41?#ü.db"
        store = SqliteStore(file)
        opened(store)
        store.put_segment("run-1", 1, *a_segment(0))
        assert store.streams("run-1")
        file.unlink()
        if replaced:
            file.touch()
        for call in (lambda: store.put_segment("run-1", 1, *a_segment(1)), lambda: store.streams("run-1"), store.check):
            with pytest.raises(StoreError, match="deleted or replaced while it was open"):
                call()
        store.close()
        assert file.exists() == replaced

    def test_a_closed_store_says_so(self, tmp_path: Path) -> None:
        store = SqliteStore(tmp_path / "store.db")
        opened(store)
        store.close()
        store.close()
        for call in (lambda: store.audits(), lambda: store.put_segment("run-1", 1, *a_segment(0))):
            with pytest.raises(StoreError, match="closed"):
                call()
