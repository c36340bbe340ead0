"""Files like those of torch.save, and what somebody who means harm makes of them; written by hand, without torch."""

from __future__ import annotations

import io
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Sequence

DATA = pickle.dumps({"a": 1}, 2)
LEGACY_MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, 2)

REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"


def storage(count: int = 4) -> bytes:
    return (
        b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuJ"
        + struct.pack("<i", count)
        + b"tQ"
    )


def tensor(count: int = 4) -> bytes:
    """A tensor of four over a storage that claims `count` elements; nothing behind it but the end of the pickle is missing."""
    return b"\x80\x02" + REBUILD + b"(" + storage(count) + b"K\x00K\x04\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtR"


def archive(
    data: bytes = DATA,
    more: Sequence[tuple[str, bytes]] = (),
    *,
    top: str = "archive",
    method: int = zipfile.ZIP_STORED,
    comment: bytes = b"",
) -> bytes:
    """A zip with data.pkl, data/0 of four floats, a version, and `more`."""
    entries = [("data.pkl", data), ("data/0", bytes(16)), ("version", b"3\n"), *more]
    return raw_archive([(f"{top}/{name}", content) for name, content in entries], method=method, comment=comment)


def raw_archive(
    entries: Sequence[tuple[str, bytes]], *, method: int = zipfile.ZIP_STORED, comment: bytes = b""
) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as made:
        for name, content in entries:
            made.writestr(name, content)
        made.comment = comment
    return file.getvalue()


def legacy_tar(*, kind: int = tarfile.USTAR_FORMAT) -> bytes:
    """What torch before 0.1.11 wrote: storages, tensors and a pickle in a tar."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=kind) as made:
        for name, content in (("storages", pickle.dumps(0, 2)), ("tensors", pickle.dumps(0, 2)), ("pickle", DATA)):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            made.addfile(member, io.BytesIO(content))
    return file.getvalue()


def old_tar() -> bytes:
    """The same from before tars had a magic number: its check sum alone shows what it is."""
    made = bytearray(legacy_tar())
    for start in range(0, len(made), 512):
        block = made[start : start + 512]
        if block[257:262] == b"ustar":
            block[257:265] = bytes(8)
            block[148:156] = b" " * 8
            block[148:156] = b"%06o\0 " % sum(block)
            made[start : start + 512] = block
    return bytes(made)
