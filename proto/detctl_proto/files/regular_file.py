"""Opens files that others may have put in place: a recording, a spool, a checkpoint, a catalog, a token.

A named pipe blocks its reader for ever, /dev/zero has no end, and opening a device can act on it. So these functions open only regular
files and read them only up to a limit. Standard library alone, and Python 3.9: the command line stages this module beside the
checkpoint reader for the user's own interpreter.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import BinaryIO, Union

# Strings and os functions, not pathlib: a path may hold bytes that are not UTF-8, or a NUL.
Path = Union[str, "os.PathLike[str]"]
_READ_BYTES = 1 << 20
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class RegularFileError(OSError):
    """The file cannot be opened or read, or it is not a regular file of an allowed size. `str` is one line that names the file."""

    def __init__(self, number: int, text: str, path: Path) -> None:
        super().__init__(number, text, os.fspath(path))

    def __str__(self) -> str:
        return f"{printable(self.filename)}: {self.strerror}"

    @property
    def is_missing(self) -> bool:
        """Whether there is nothing at that path."""
        return self.errno in (errno.ENOENT, errno.ENOTDIR)


def printable(path: Path) -> str:
    """The path for a message; bytes of it that are not UTF-8 become \\xNN."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def open_regular(path: Path, max_bytes: int | None, *, follow: bool = False) -> BinaryIO:
    """Opens a regular file for reading; max_bytes: None if the caller reads it in pieces of limited size.

    follow: whether the last component may be a symbolic link, which is right for files that the user names (latest.pt, a mounted
    secret). Links in the folders before it are always followed: the user chooses the folder. Raises RegularFileError.
    """
    # Checked before it is opened, because opening a device can act on it, and again afterwards, because it may have been replaced.
    try:
        _check(path, os.stat(path, follow_symlinks=follow), max_bytes)  # noqa: PTH116 - a str
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
        descriptor = os.open(path, flags)
    except RegularFileError:
        raise
    except OSError as error:
        if error.errno == errno.ELOOP and not follow:
            raise RegularFileError(errno.ELOOP, "is a symbolic link, not a regular file", path) from None
        raise RegularFileError(error.errno or errno.EIO, error.strerror or str(error), path) from None
    except ValueError:  # a NUL character, or text that no path can hold
        raise RegularFileError(errno.EINVAL, "is not a path", ascii(os.fspath(path))) from None
    try:
        _check(path, os.fstat(descriptor), max_bytes)
        return open(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path, max_bytes: int, *, follow: bool = False) -> bytes:
    """The whole content, also of a file that grows meanwhile: at most max_bytes. Raises RegularFileError."""
    with open_regular(path, max_bytes, follow=follow) as stream:
        return read_up_to(stream, max_bytes, path)


def read_up_to(stream: BinaryIO, max_bytes: int, path: Path) -> bytes:
    """The rest of an open file. Raises RegularFileError if that is more than max_bytes, or if reading fails."""
    content = bytearray()
    try:
        while len(content) <= max_bytes:
            piece = stream.read(min(_READ_BYTES, max_bytes + 1 - len(content)))
            if not piece:  # None: a file of /proc that would have to wait
                return bytes(content)
            content += piece
    except OSError as error:
        raise RegularFileError(error.errno or errno.EIO, error.strerror or str(error), path) from None
    raise RegularFileError(errno.EFBIG, _too_large(max_bytes), path)


def read_tail(path: Path, max_bytes: int) -> bytes:
    """The last max_bytes of a file of any size. Raises RegularFileError."""
    with open_regular(path, None) as stream:
        stream.seek(max(0, os.fstat(stream.fileno()).st_size - max_bytes))
        return stream.read(max_bytes) or b""


def _check(path: Path, found: os.stat_result, max_bytes: int | None) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = next((text for is_one, text in _KINDS if is_one(found.st_mode)), "something else")
        number = errno.EISDIR if stat.S_ISDIR(found.st_mode) else errno.EINVAL
        raise RegularFileError(number, f"is {kind}, not a regular file", path)
    if max_bytes is not None and found.st_size > max_bytes:
        raise RegularFileError(errno.EFBIG, _too_large(max_bytes), path)


def _too_large(max_bytes: int) -> str:
    mib = max_bytes / (1 << 20)
    return f"is larger than {mib:g} MiB" if mib >= 1 else f"is larger than {max_bytes} bytes"
