"""Inspects a file of torch.save before torch reads it.

torch.load looks at a file and chooses a reader: torch.jit.load for a zip with `constants.pkl`, the tar reader for a tar. Before torch 2.6
it did so under weights_only too, and both run code (CVE-2025-32434). So only the two layouts that torch.save itself writes are accepted,
and a zip must be one that every reader of zips understands alike: entries are stored, lie one behind the other and cover the file.
The unpickling is rehearsed too (pickle_rehearsal.py). Standard library alone; tests/fuzz feeds `inspect_archive`.
"""

from __future__ import annotations

import io
import os
import re
import struct
import tarfile
from typing import BinaryIO, Dict, List, NamedTuple, Tuple, Union

from detctl_proto.files.regular_file import RegularFileError, open_regular

from detctl_checkpoints.content import CheckpointError
from detctl_checkpoints.pickle_rehearsal import RehearsalError, rehearse

ENTRIES_MAX = 1_000_000
PICKLE_BYTES_MAX = 1 << 30  # of data.pkl: containers and plain values; tensors lie beside it
LEGACY_PICKLES = 5  # magic number, version, the writer's types, the value, the keys of its storages

_LOCAL, _CENTRAL, _END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_END64, _LOCATOR64 = b"PK\x06\x06", b"PK\x06\x07"
_LOCAL_HEAD = struct.Struct("<4s5H3I2H")
_CENTRAL_HEAD = struct.Struct("<4s6H3I5H2I")
_END_HEAD = struct.Struct("<4s4H2IH")
_LOCATOR64_HEAD = struct.Struct("<4sIQI")
_END64_HEAD = struct.Struct("<4sQ2H2I4Q")
_BLOCK = struct.Struct("<2H")
_U64 = struct.Struct("<Q")
_DESCRIPTOR, _UTF8 = 0x0008, 0x0800
_MAX16, _MAX32 = 0xFFFF, 0xFFFFFFFF
_DESCRIPTOR_BYTES_MAX = 24  # signature, CRC and two sizes of 64 bits, behind an entry's content

# What _legacy_save writes first, whatever the protocol of the pickle.
_LEGACY = re.compile(rb"\x80[\x02-\x05](\x95.{8})?\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\.", re.DOTALL)
_PACKED = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"7z\xbc\xaf", "7z"),
)
_TAR_BLOCK = 512


class ArchiveError(CheckpointError):
    """Not a file of torch.save, or one that is not safe to load; the text is one line for people, without the file's name."""


class Entry(NamedTuple):
    """The place of one entry's content in the file."""

    offset: int
    size: int


class ArchiveFacts(NamedTuple):
    """format: `zip` or `legacy` (before torch 1.6). entries: of a zip, by their names within its one folder; {} of the other."""

    format: str
    entries: Dict[str, Entry]


def inspect_archive(source: Union[str, "os.PathLike[str]", BinaryIO]) -> ArchiveFacts:
    """Reads only names, sizes and the pickle, and never runs it. source: a path, or an open file, whose position is kept.

    Raises ArchiveError and nothing else.
    """
    try:
        if isinstance(source, (str, os.PathLike)):
            with open_regular(source, None, follow=True) as stream:
                return _inspect(stream)
        before = source.tell()
        try:
            return _inspect(source)
        finally:
            source.seek(before)
    except (RegularFileError, RehearsalError) as error:
        raise ArchiveError(str(error)) from None
    except (OSError, MemoryError) as error:
        raise ArchiveError(
            "it cannot be read: %s" % (getattr(error, "strerror", None) or type(error).__name__)
        ) from None


def _inspect(stream: BinaryIO) -> ArchiveFacts:
    size = stream.seek(0, os.SEEK_END)
    head = _at(stream, 0, min(size, _TAR_BLOCK))
    if head.startswith(_LOCAL):
        found = _entries(stream, size)
        entry = found["data.pkl"]
        if entry.size > PICKLE_BYTES_MAX:
            raise ArchiveError("its data.pkl has %d MiB; the limit is %d" % (entry.size >> 20, PICKLE_BYTES_MAX >> 20))
        storages = {name[len("data/") :]: one.size for name, one in found.items() if name.startswith("data/")}
        rehearse(io.BytesIO(_at(stream, entry.offset, entry.size)), 1, storages)
        return ArchiveFacts("zip", found)
    if _LEGACY.match(head):
        stream.seek(0)
        rehearse(stream, LEGACY_PICKLES, size)
        return ArchiveFacts("legacy", {})
    if _is_tar(head):
        raise ArchiveError(
            "a tar file, whose old reader in torch runs code: it is not loaded; save the checkpoint again"
        )
    for magic, name in _PACKED:
        if head.startswith(magic):
            raise ArchiveError("packed by %s: unpack it first" % name)
    raise ArchiveError("damaged, or neither a torch.save nor a safetensors file")


def _is_tar(head: bytes) -> bool:
    """Whether it is a tar file; one from before `ustar` is known only by its check sum."""
    if len(head) < _TAR_BLOCK:
        return False
    if head[257:262] == b"ustar":
        return True
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except (tarfile.TarError, ValueError):
        return False
    return True


def _at(stream: BinaryIO, offset: int, size: int) -> bytes:
    """Exactly these bytes. Raises ArchiveError if the file ends before."""
    stream.seek(offset)
    content = stream.read(size)
    if len(content) != size:
        raise ArchiveError("damaged or cut: it ends before byte %d" % (offset + size))
    return content


def _entries(stream: BinaryIO, size: int) -> Dict[str, Entry]:
    """The entries of a zip of torch.save by name. Raises ArchiveError."""
    count, start, end = _directory(stream, size)
    directory = _at(stream, start, end - start)
    rows: List[Tuple[int, bytes, int, int, int, int]] = []  # header offset, name, size, stored size, flags, method
    at = 0
    for _ in range(count):
        if at + _CENTRAL_HEAD.size > len(directory):
            raise ArchiveError("damaged or cut: its directory ends too early")
        (
            magic,
            _,
            _,
            flags,
            method,
            _,
            _,
            _,
            packed,
            unpacked,
            name_size,
            extra_size,
            comment_size,
            disk,
            _,
            _,
            offset,
        ) = _CENTRAL_HEAD.unpack_from(directory, at)
        at += _CENTRAL_HEAD.size
        name, extra = directory[at : at + name_size], directory[at + name_size : at + name_size + extra_size]
        at += name_size + extra_size + comment_size
        if magic != _CENTRAL or at > len(directory):
            raise ArchiveError("damaged: its directory does not hold the entries that it states")
        unpacked, packed, offset = _wide(extra, unpacked, packed, offset)
        if disk or comment_size:
            raise ArchiveError("%s: not as torch.save writes it" % _shown(name))
        rows.append((offset, name, unpacked, packed, flags, method))
    if at != len(directory):
        raise ArchiveError("damaged: its directory holds more than its %d entries" % count)
    names = _names([row[1] for row in rows])
    found: Dict[str, Entry] = {}
    covered = 0
    for offset, name, unpacked, packed, flags, method in sorted(rows):
        _check_stored(name, flags, method, packed, unpacked)
        behind = offset - covered
        if not 0 <= behind <= (_DESCRIPTOR_BYTES_MAX if covered else 0):
            where = "overlaps the entry before it" if behind < 0 else "lies behind bytes that belong to no entry"
            raise ArchiveError("%s %s: it is not loaded" % (_shown(name), where))
        content = _content(stream, offset, name, unpacked, flags)
        covered = content + unpacked
        if covered > start:
            raise ArchiveError("damaged or cut: %s ends beyond the file's content" % _shown(name))
        found[names[name]] = Entry(content, unpacked)
    if start - covered > _DESCRIPTOR_BYTES_MAX:
        raise ArchiveError("it holds bytes that belong to no entry: it is not loaded")
    return found


def _directory(stream: BinaryIO, size: int) -> Tuple[int, int, int]:
    """(number of entries, start of the directory, its end), which the end of the file must state without any doubt."""
    if size < _END_HEAD.size:
        raise ArchiveError("damaged or cut: a zip without its directory")
    end = size - _END_HEAD.size
    magic, disk, first_disk, here, count, length, start, comment = _END_HEAD.unpack(_at(stream, end, _END_HEAD.size))
    if magic != _END or comment:
        raise ArchiveError("damaged or cut: a zip without its directory at the end")
    if disk or first_disk or here != count:
        raise ArchiveError("a zip in several parts")
    locator = end - _LOCATOR64_HEAD.size
    if locator >= 0 and _at(stream, locator, 4) == _LOCATOR64:
        _, disk, place, disks = _LOCATOR64_HEAD.unpack(_at(stream, locator, _LOCATOR64_HEAD.size))
        end = locator - _END64_HEAD.size
        if end < 0 or place != end or disk or disks != 1:
            raise ArchiveError("damaged: its zip64 directory is not at the stated place")
        magic, rest, _, _, disk, first_disk, here64, count64, length64, start64 = _END64_HEAD.unpack(
            _at(stream, end, _END64_HEAD.size)
        )
        wide = ((count, count64, _MAX16), (length, length64, _MAX32), (start, start64, _MAX32))
        if magic != _END64 or rest != _END64_HEAD.size - 12 or disk or first_disk or here64 != count64:
            raise ArchiveError("damaged: its zip64 directory cannot be read")
        if any(narrow not in (long, most) for narrow, long, most in wide):
            raise ArchiveError("its two directories contradict each other: it is not loaded")
        count, length, start = count64, length64, start64
    if start + length != end:
        raise ArchiveError("damaged: its directory is not at the stated place")
    if count > min(ENTRIES_MAX, length // _CENTRAL_HEAD.size):
        raise ArchiveError("it claims %d entries, more than it can hold or detctl reads (%d)" % (count, ENTRIES_MAX))
    return count, start, end


def _wide(extra: bytes, unpacked: int, packed: int, offset: int) -> Tuple[int, int, int]:
    """The three values in 64 bits, if the header refers to the extra field for them. Raises ArchiveError."""
    values = [unpacked, packed, offset]
    blocks = _blocks(extra).get(1, [])
    if _MAX32 in values and len(blocks) != 1:
        raise ArchiveError("damaged: a size of 64 bits is missing")
    if not blocks:
        return unpacked, packed, offset
    at = 0
    for number, value in enumerate(values):
        if value == _MAX32:
            if at + _U64.size > len(blocks[0]):
                raise ArchiveError("damaged: a size of 64 bits is missing")
            values[number] = _U64.unpack_from(blocks[0], at)[0]
            at += _U64.size
    return values[0], values[1], values[2]


def _blocks(extra: bytes) -> Dict[int, List[bytes]]:
    """Kind -> contents of an extra field's blocks. Raises ArchiveError."""
    found: Dict[int, List[bytes]] = {}
    at = 0
    while at < len(extra):
        if at + _BLOCK.size > len(extra):
            raise ArchiveError("damaged: an extra field is cut")
        kind, length = _BLOCK.unpack_from(extra, at)
        at += _BLOCK.size + length
        if at > len(extra):
            raise ArchiveError("damaged: an extra field is cut")
        found.setdefault(kind, []).append(extra[at - length : at])
    return found


def _check_stored(name: bytes, flags: int, method: int, packed: int, unpacked: int) -> None:
    if flags & ~(_DESCRIPTOR | _UTF8):
        raise ArchiveError("%s is encrypted, or packed in a way that torch.save does not use" % _shown(name))
    if method or packed != unpacked:
        raise ArchiveError("%s is compressed, which torch.save never does: it is not loaded" % _shown(name))


def _names(names: List[bytes]) -> Dict[bytes, str]:
    """Name -> name within the one folder, of names that torch.save writes and every reader finds. Raises ArchiveError."""
    found: Dict[bytes, str] = {}
    inner_names = [name.partition(b"/")[2].lower() for name in names]
    if any(inner == b"constants.pkl" or inner.startswith(b"code/") for inner in inner_names):
        raise ArchiveError("a TorchScript archive: it holds code; save its state_dict()")
    folders = {name.partition(b"/")[0] for name in names}
    if len(folders) != 1 or not all(b"/" in name for name in names) or b"" in folders:
        raise ArchiveError("not a file of torch.save: its entries do not lie in one folder")
    seen = set()
    for name in names:
        inner = name.partition(b"/")[2]
        parts = inner.split(b"/")
        if b"\0" in name or b"" in parts or b".." in parts or b"." in parts:
            raise ArchiveError("an entry is called %s: it is not loaded" % _shown(name))
        if name.lower() in seen:  # torch's reader looks names up without regard to case
            raise ArchiveError("two entries are called %s: it is not loaded" % _shown(name))
        seen.add(name.lower())
        is_known = inner in (b"data.pkl", b"version", b"byteorder") or inner.startswith(b".")
        if not is_known and not (len(parts) == 2 and parts[0] == b"data"):
            raise ArchiveError("not a file of torch.save: it holds %s" % _shown(name))
        found[name] = inner.decode("utf-8", "surrogateescape")
    if "data.pkl" not in found.values():
        raise ArchiveError("not a file of torch.save: it holds no data.pkl")
    return found


def _content(stream: BinaryIO, offset: int, name: bytes, size: int, flags: int) -> int:
    """The start of an entry's content by its own header, which must agree with the directory. Raises ArchiveError."""
    magic, _, own_flags, method, _, _, _, packed, unpacked, name_size, extra_size = _LOCAL_HEAD.unpack(
        _at(stream, offset, _LOCAL_HEAD.size)
    )
    own_name = _at(stream, offset + _LOCAL_HEAD.size, name_size)
    _check_stored(own_name, own_flags, method, packed, unpacked)
    if unpacked == _MAX32:
        extra = _at(stream, offset + _LOCAL_HEAD.size + name_size, extra_size)
        unpacked, packed, _ = _wide(extra, unpacked, packed, 0)
    # Sizes that were not known yet stand behind the content: zero here.
    is_unknown = own_flags & _DESCRIPTOR and unpacked == packed == 0
    if magic != _LOCAL or own_name != name or own_flags != flags or not (is_unknown or unpacked == packed == size):
        raise ArchiveError("%s contradicts the directory: it is not loaded" % _shown(name))
    return int(offset + _LOCAL_HEAD.size + name_size + extra_size)


def _shown(name: bytes) -> str:
    text = name.decode("utf-8", "backslashreplace")
    return text if text.isprintable() and len(text) <= 200 else ascii(text[:200])
