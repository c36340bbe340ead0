"""Addresses of stores: the wrong part is named, and a password never shows."""

from __future__ import annotations

from pathlib import Path

import pytest
from detctl_coordinator.storage.address import redacted
from detctl_coordinator.storage.open_store import open_store
from detctl_coordinator.storage.store import StoreError
from detctl_proto.files.file_systems import file_system_of
from hypothesis import given
from hypothesis import strategies as st

WRONG = [
    ("", "unknown store address"),
    ("store.db", "unknown store address"),
    ("postgres://h/0", "unknown store address 'postgres://h/0': use sqlite:FILE"),
    ("sqlite:", "names no file"),
    ("sqlite:folder/", "names no file"),
    ("redis:127.0.0.1:6379/0", "lacks //"),
    ("redis://", "names no host"),
    ("redis:///0", "names no host"),
    ("redis://h:port/0", "port must be a number"),
    ("redis://h:0/0", "port must be a number"),
    ("redis://h:70000/0", "port must be a number"),
    ("redis://h/zero", "must be a number, not 'zero'"),
    ("unix://", "names no socket"),
    ("redis://u:s3cret@h:port/0", "port must be a number"),
    ("redis://u:s3cret@h/zero", "must be a number"),
    ("redis://u:12/s3cret@h:6379/0", "must be a number"),
    ("u:s3cret@h", "unknown store address"),
    ("s3cret@h", "unknown store address"),
    ("reddis://u:s3cret@h/0", "unknown store address"),
]


@pytest.mark.parametrize(("address", "said"), WRONG)
def test_the_wrong_part_is_named(address: str, said: str) -> None:
    with pytest.raises(StoreError) as caught:
        open_store(address)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value) and "s3cret" not in str(caught.value)


SECRET = "Zq7-x9!Vw3"
word = st.text(st.sampled_from("abc019.:/@%#?&= -"), max_size=8)


@given(st.sampled_from(["redis", "rediss", "unix", "reddis"]), word, word, word)
def test_a_password_never_shows(scheme: str, user: str, more: str, place: str) -> None:
    for address in (f"{scheme}://{user}:{SECRET}{more}@h{place}", f"{scheme}://h/0?password={SECRET}{more}"):
        assert SECRET not in redacted(address)


def test_the_file_system_of_a_folder() -> None:
    mountinfo = (
        "22 1 254:0 / / rw - ext4 /dev/vda rw\n"
        "30 22 0:50 / /home rw,relatime shared:1 - nfs4 server:/home rw\n"
        "31 30 0:51 / /home/me/local\\040disk rw - xfs /dev/vdb rw\n"
        "32 22 0:52 / /mnt rw - ext4 /dev/vdc rw\n"
        "33 32 0:53 / /mnt rw - cifs //server/share rw\n"
        "garbage\n"
    )
    for path, kind in {
        "/var/tmp": "ext4",
        "/home": "nfs4",
        "/home/me/.detctl": "nfs4",
        "/home/me/local disk/x": "xfs",
        "/homework": "ext4",
        "/mnt/x": "cifs",
    }.items():
        assert file_system_of(Path(path), mountinfo) == kind
    assert file_system_of(Path("/x"), "") == ""


@pytest.mark.parametrize("kind", ["nfs4", "9p", "virtiofs", "fuse.sshfs"])
def test_a_network_file_system_is_refused(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("detctl_coordinator.storage.sqlite.local_folder.file_system_of", lambda path, mountinfo: kind)
    with pytest.raises(StoreError, match=rf"network file system \({kind}\).*local disk"):
        open_store(f"sqlite:{tmp_path}/store.db")
    assert list(tmp_path.iterdir()) == []
