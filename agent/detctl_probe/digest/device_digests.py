"""Digests of tensors on a CUDA device, in two phases: submitted on the producing stream, collected a step later.

Neither phase waits for the device. A submission copies a small table to it and launches n6_triton's kernel on the current stream. `mark`
copies the results of a step to pinned memory on the probe's own stream, after an event of each stream that was used. Buffers, and copies of
tensors that are not contiguous, come from the probe's own memory pool, so that the training's addresses do not change. Such a tensor is
copied and read in pieces of COPY_BYTES_MAX. Under CUDA graph capture nothing is launched or allocated: it would become a part of the
training's graph.

The code runs without the training's modes (default device, inference mode, function and dispatch modes), on the tensor's device, whichever
device is current. Tests run it in Triton's interpreter with `Host` as the device, and with a fake CUDA module whose streams run
in any order that a device may choose (tests/support/fake_cuda.py).
"""

from __future__ import annotations

import functools
import sys
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, Union

from detctl_probe.digest import pending
from detctl_probe.digest.device_rows import Row, copied_bytes, pieces_of, row_of
from detctl_probe.digest.devices import Cuda, Host
from detctl_probe.digest.n6 import NoDigestError, as_integers, digest_tensor, digest_tensors
from detctl_probe.digest.pending import Batch, Pending
from detctl_probe.process.stderr import log

SLOTS = 8192  # results a batch; 16 bytes each on the device, and 32 of table
COPY_ELEMENTS_MAX = 4096
COPY_BYTES_MAX = 1 << 24  # of a tensor that is not contiguous, at a time
CAPTURING = "it is under CUDA graph capture"
interpreted = False  # tests set it: tensors of the CPU are then digested here too, in Triton's interpreter


class _Buffers:
    """The buffers of one batch: table and sums, on the device and on the host. `ready`: the event after which they are zero."""

    def __init__(self, device: Any) -> None:
        with device.own_memory():
            self.table, self.sums = device.zeros(SLOTS, 4), device.zeros(SLOTS, 2)
        self.host_table, self.host_sums = device.pinned(SLOTS, 4), device.pinned(SLOTS, 2)
        self.ready = device.given()


def _aside(method: Any) -> Any:
    """Makes a method of DeviceDigests run on its device, without the training's modes: the buffers outlive them."""

    @functools.wraps(method)
    def apart(self: "DeviceDigests", *args: Any) -> Any:
        torch = self._torch
        with (
            torch.inference_mode(False),
            torch.no_grad(),
            torch._C.DisableTorchFunction(),
            torch._C._DisableTorchDispatch(),
        ):
            with self._device.current():
                return method(self, *args)

    return apart


class DeviceDigests:
    """The submissions to one device, in batches."""

    def __init__(self, torch: Any, device: Any) -> None:
        from detctl_probe.digest import n6_triton  # imports triton: only to digest a tensor of a device

        self._add_sums = n6_triton.add_sums
        self._torch = torch
        self.key = str(device)
        self._device = (Cuda if device.type == "cuda" else Host)(torch, device)
        self._free: List[_Buffers] = []
        self._begin()

    @_aside
    def _begin(self) -> None:
        self._open()
        # Compiles both forms, so that it is known early if Triton cannot work here (no C compiler, no driver),
        # and no later step waits for the compiler.
        address = self._buffers.table.data_ptr()
        for place in (address, address + 4):
            self._launched([(place, 1, 4, 0)])

    def _open(self) -> None:
        self._buffers = self._free.pop() if self._free else _Buffers(self._device)
        self._batch = Batch()
        self._count = 0

    @_aside
    def submit(self, tensors: Sequence[Any], first_index: int = 0) -> List[Union[Pending, NoDigestError]]:
        """A Pending for each, or why it has none; first_index holds for all of them."""
        found: List[Any] = []
        rows: List[Row] = []
        held: List[Any] = []  # temporaries must live until the launch; then the allocator keeps the stream's order
        held_bytes = 0
        places: List[int] = []
        for tensor in tensors:
            try:
                copied = copied_bytes(tensor)
                if copied > COPY_BYTES_MAX:
                    found.append(self._in_pieces(tensor, first_index, copied))
                    continue
                if held_bytes + copied > COPY_BYTES_MAX:
                    self._settled(found, places, rows)
                    held, held_bytes = [], 0
                with self._device.own_memory():
                    plain = as_integers(tensor)
            except NoDigestError as why:
                found.append(why)
                continue
            except self._device.out_of_memory:
                found.append(NoDigestError("the device has no memory left for a contiguous copy of it"))
                continue
            held.append(plain)
            held_bytes += copied
            rows.append(row_of(plain, first_index))
            places.append(len(found))
            found.append(None)
        self._settled(found, places, rows)
        return found

    def _settled(self, found: List[Any], places: List[int], rows: List[Row]) -> None:
        """Launches `rows` and puts their Pendings into their places; empties both lists."""
        for place, made in zip(places, self._launched(list(rows))):  # noqa: B905 - strict came with Python 3.10
            found[place] = made
        places.clear()
        rows.clear()

    def _in_pieces(self, tensor: Any, first_index: int, size: int) -> Pending:
        """Digests a large tensor that must be copied, piece by piece, all into one slot; the pool gives each piece the same memory."""
        pieces = list(pieces_of(tensor.detach(), max(COPY_BYTES_MAX, 4 * size // SLOTS)))
        if self._count + len(pieces) > SLOTS:
            self.mark()
        slot = self._count
        # One row of the table for each piece: the device may read one while the host writes the next.
        self._count += len(pieces)
        self._given()
        for at, piece in enumerate(pieces):
            with self._device.own_memory():
                plain = as_integers(piece)
            row = row_of(plain, first_index)
            self._add(slot + at, [row], self._buffers.sums[slot : slot + 1])
            first_index += row[1]
            del plain
        return Pending(self._batch, slot)

    def _launched(self, rows: List[Row]) -> List[Pending]:
        made: List[Pending] = []
        while rows:
            if self._count == SLOTS:
                self.mark()
            now, rows = rows[: SLOTS - self._count], rows[SLOTS - self._count :]
            start, end = self._count, self._count + len(now)
            self._given()
            self._add(start, now, self._buffers.sums[start:end])
            made += [Pending(self._batch, slot) for slot in range(start, end)]
            self._count = end
        return made

    def _add(self, start: int, rows: List[Row], sums: Any) -> None:
        """Writes rows into the table from `start` on and adds their lanes to sums."""
        buffers, end = self._buffers, start + len(rows)
        buffers.host_table[start:end] = self._torch.tensor(rows, dtype=self._torch.int64, device="cpu")
        table = buffers.table[start:end]
        table.copy_(buffers.host_table[start:end], non_blocking=True)
        self._add_sums(table, sums, rows)

    def _given(self) -> None:
        """Notes that the current stream gets work of this batch."""
        self._device.used(self._buffers.ready)
        pending.OPEN[self.key] = self.mark

    @_aside
    def submit_copy(self, tensor: Any, make: Any) -> Union[Pending, NoDigestError]:
        """A Pending of make(copy on the host). Raises NoDigestError if the tensor has more than COPY_ELEMENTS_MAX elements."""
        if tensor.numel() > COPY_ELEMENTS_MAX:
            return NoDigestError(
                "it has more than %d elements, so its sketch would have to wait for the device" % COPY_ELEMENTS_MAX
            )
        with self._device.own_memory():
            plain = tensor.detach().contiguous()
        host = self._device.like(plain)
        self._given()
        host.copy_(plain, non_blocking=True)
        return Pending(self._batch, 0, lambda: make(host))

    @_aside
    def mark(self) -> None:
        """Ends the batch: its results are sent to the host after all its work."""
        pending.OPEN.pop(self.key, None)
        buffers, count, batch = self._buffers, self._count, self._batch
        with self._device.sending():
            buffers.host_sums[:count].copy_(buffers.sums[:count], non_blocking=True)
            buffers.sums[:count].zero_()
            event = self._device.sent()

        def fetch() -> List[Tuple[int, int]]:
            event.synchronize()
            lanes = [(a, b) for a, b in buffers.host_sums[:count].tolist()]
            buffers.ready = None  # zeroed before the event that was waited for
            self._free.append(buffers)
            return lanes

        batch.marked(event.query, fetch)
        self._open()


_devices: Dict[str, Optional[DeviceDigests]] = {}  # None: Triton cannot be used there


def capturing(tensor: Any) -> bool:
    """Whether work on this tensor would now be captured into a CUDA graph, or break its capture."""
    return tensor.device.type == "cuda" and bool(sys.modules["torch"].cuda.is_current_stream_capturing())


def of(tensor: Any) -> Optional[DeviceDigests]:
    """The digests of this tensor's device; None for the CPU, and if Triton cannot be used, which is logged once."""
    kind = tensor.device.type
    if kind != "cuda" and not (interpreted and kind == "cpu"):
        return None
    key = str(tensor.device)
    if key not in _devices:
        torch = sys.modules["torch"]
        try:
            _devices[key] = DeviceDigests(torch, tensor.device)
        except Exception as error:  # no Triton, no compiler for it, no pinned memory
            _devices[key] = None
            log(
                "Triton cannot be used on %s (%s: %s), so digests there wait for the device"
                % (key, type(error).__name__, error)
            )
    return _devices[key]


def submit(tensors: Sequence[Any]) -> List[Union[bytes, Pending, NoDigestError]]:
    """The digest of each, pending if a device computes it, or why it has none."""
    if not interpreted and all(tensor.is_cpu for tensor in tensors):
        return list(digest_tensors(tensors))
    found: List[Any] = [None] * len(tensors)
    groups: Dict[Optional[DeviceDigests], List[int]] = {}
    for place, tensor in enumerate(tensors):
        if capturing(tensor):
            found[place] = NoDigestError(CAPTURING)
            continue
        groups.setdefault(of(tensor), []).append(place)
    for device, places in groups.items():
        chosen = [tensors[place] for place in places]
        for place, digest in zip(places, device.submit(chosen) if device else digest_tensors(chosen)):  # noqa: B905 - strict came with Python 3.10
            found[place] = digest
    return found


def submit_one(tensor: Any, first_index: int = 0) -> Union[bytes, Pending]:
    """submit of one tensor, whose words start at first_index. Raises NoDigestError.

    A module's hook calls it: on the CPU it is digest_tensor and no more.
    """
    if tensor.is_cpu and not interpreted:
        return digest_tensor(tensor, first_index)
    if capturing(tensor):
        raise NoDigestError(CAPTURING)
    device = of(tensor)
    made = device.submit([tensor], first_index)[0] if device else digest_tensor(tensor, first_index)
    if isinstance(made, NoDigestError):
        raise made
    return made


def submit_copy(tensor: Any, make: Callable[[Any], Any]) -> Union[Any, Pending]:
    """make(a copy of the tensor on the host), pending if its device is busy. Raises NoDigestError."""
    if capturing(tensor):
        raise NoDigestError(CAPTURING)
    device = of(tensor)
    made = device.submit_copy(tensor, make) if device else make(tensor)
    if isinstance(made, NoDigestError):
        raise made
    return made


def forget() -> None:
    """In a forked child: forgets the parent's devices, which cannot be used here."""
    _devices.clear()
    pending.OPEN.clear()
