"""The C form of the digest, by ctypes: `load()` returns it, or None if no compiled kernel lies beside this file.

Compiled by hatch_build.py when the package is built or installed; `python -m detctl_probe.digest.kernel` compiles it in place.
A call releases the GIL. For tests, DETCTL_KERNEL=off selects the reference; the name of a form selects that form or a lower one.
"""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import threading
from array import array
from typing import List, Optional, Tuple

INTERFACE = 3  # n6.c's, which a library left over from an older source does not have
FORMS = ("scalar", "avx2", "avx512", "avx512-vpmullq")
_ALONE: Tuple[Optional[int], int] = (None, 1)
_SHARED_FROM = 8 * 16384  # items; n6.c shares out no less
_Lanes = ctypes.c_uint64 * 2
_HERE = os.path.dirname(os.path.abspath(__file__))
_FLAGS = ["-O3", "-fPIC", "-shared", "-ffreestanding", "-nostdlib", "-fno-stack-protector", "-fvisibility=default"]


def library_path(folder: str = _HERE) -> str:
    """Where the shared object of this architecture lies or would lie."""
    return os.path.join(folder, "n6-%s.so" % platform.machine())


def compile_into(folder: str = _HERE) -> str:
    """Compiles the kernel with $CC (else cc) and returns its path. Raises OSError or subprocess.CalledProcessError."""
    target = library_path(folder)
    partial = "%s.%d" % (target, os.getpid())
    flags = _FLAGS + (["-mno-outline-atomics"] if platform.machine() == "aarch64" else [])  # they live in a library
    command: List[str] = [os.environ.get("CC", "cc")] + flags + ["-o", partial, os.path.join(_HERE, "n6.c")]
    subprocess.run(command, check=True, stderr=subprocess.PIPE)
    os.replace(partial, target)
    return target


class Kernel:
    """The loaded kernel; `form` is one of FORMS."""

    def __init__(self, library: ctypes.CDLL, form: int) -> None:
        self.form = FORMS[form]
        self._form = form
        self._sum = library.n6_sum
        self._sum.argtypes = [
            ctypes.c_void_p, ctypes.c_uint64, ctypes.c_int, ctypes.c_uint64, ctypes.c_int, ctypes.c_void_p,
        ]  # fmt: skip
        self._sum.restype = None
        self._rows = library.n6_rows
        self._rows.argtypes = [
            ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_int, ctypes.c_int, ctypes.c_void_p,
        ]  # fmt: skip
        self._rows.restype = None
        self._runs = library.n6_runs
        self._runs.argtypes = [
            ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_int,
            ctypes.c_uint64, ctypes.c_uint64, ctypes.c_int, ctypes.c_void_p,
        ]  # fmt: skip
        self._runs.restype = None
        self._many = library.n6_many
        self._many.argtypes = [
            ctypes.c_void_p, ctypes.c_uint64, ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_void_p,
        ]  # fmt: skip
        self._many.restype = None
        self.alone()

    def alone(self) -> None:
        """From now on each thread digests alone."""
        self.share(*_ALONE)

    def share(self, parallel: Optional[int], threads: int) -> None:
        """From now on this thread shares large digests among `threads` of an OpenMP runtime: parallel is the address of its GOMP_parallel.

        Other threads digest alone: the runtime would give each of them a new pool.
        """
        self._team = (parallel, threads)
        self._leader = threading.get_ident()

    def sums(self, address: int, count: int, width: int, first_index: int) -> bytes:
        """16 bytes over `count` items of `width` (1, 2, 4 or 8) bytes at `address`; first_index counts words."""
        if count >= _SHARED_FROM and self._team[1] > 1:
            return self.many(array("Q", (address, count, width, first_index)))[0]
        if width == 8:
            count, width = 2 * count, 4
        out = _Lanes()
        self._sum(address, count, width, first_index, self._form, out)
        return bytes(out)

    def rows(self, address: int, rows: int, count: int, width: int) -> Tuple[bytes, ...]:
        """16 bytes for each of `rows` rows of `count` items."""
        if width == 8:
            count, width = 2 * count, 4
        out = ctypes.create_string_buffer(max(1, 16 * rows))
        self._rows(address, rows, count, width, self._form, out)
        raw = out.raw
        return tuple(raw[16 * row : 16 * row + 16] for row in range(rows))

    def runs(self, address: int, runs: int, count: int, width: int, first_index: int, stride: int) -> bytes:
        """16 bytes over `runs` runs of `count` items; first_index of the first run and stride between runs count words."""
        if width == 8:
            count, width = 2 * count, 4
        out = _Lanes()
        self._runs(address, runs, count, width, first_index, stride, self._form, out)
        return bytes(out)

    def many(self, table: "array[int]") -> List[bytes]:
        """16 bytes for each row of a table of unsigned 64-bit (address, count, width, first index), flat, in one call.

        Widths 1, 2, 4 or 8 bytes; the first index counts words.
        """
        count = len(table) // 4
        out = ctypes.create_string_buffer(max(1, 16 * count))
        parallel, threads = self._team if threading.get_ident() == self._leader else _ALONE
        self._many(table.buffer_info()[0], count, self._form, parallel, threads, out)
        raw = out.raw
        return [raw[16 * row : 16 * row + 16] for row in range(count)]


def load() -> Optional[Kernel]:
    """The best form that this CPU runs; None if the kernel is not compiled for this machine, or switched off."""
    requested = os.environ.get("DETCTL_KERNEL", "")
    if requested == "off" or not os.path.exists(library_path()):
        return None
    try:
        library = ctypes.CDLL(library_path())
        if library.n6_interface() != INTERFACE:
            return None
    except (OSError, AttributeError):  # the first sources had no n6_interface
        return None
    best = library.n6_best()
    return Kernel(library, min(best, FORMS.index(requested)) if requested in FORMS else best)
