"""Digests of tensors on a CUDA device in two phases: submit on the producing stream, collect a step later.

Neither waits for the device: a submission copies a small table to it and launches digest_triton's kernel on the current stream; `mark`
copies the step's results to pinned memory on a stream of the probe's own, behind an event of each stream that was used. Buffers and
copies of tensors that are not contiguous come from a pool of the probe's own, so that the training's addresses stay as they were.
Under CUDA graph capture nothing is taken. Measured on a GPU: nothing yet; Triton's interpreter runs it in tests, with `Host` for a device.
"""

from __future__ import annotations

import contextlib
import sys
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, Union

from detctl_probe import pending
from detctl_probe.digest import Unfit, as_integers, digest_tensor, digest_tensors
from detctl_probe.pending import Batch, Pending
from detctl_probe.say import say

SLOTS = 8192  # results a batch; 16 bytes each on the device, and 32 of table
COPY_ELEMENTS_MAX = 4096
interpreted = False  # tests set it: CPU tensors go this way too, through Triton's interpreter


class Host:
    """A device that is the CPU, for Triton's interpreter: everything is done when asked."""

    def __init__(self, torch: Any, device: Any) -> None:
        self._torch = torch

    def own_memory(self) -> Any:
        return contextlib.nullcontext()

    def pinned(self, rows: int, columns: int) -> Any:
        return self._torch.zeros((rows, columns), dtype=self._torch.int64)

    zeros = pinned

    def like(self, tensor: Any) -> Any:
        return self._torch.empty_like(tensor)

    def capturing(self) -> bool:
        return False

    def used(self) -> None:
        """The current stream has been given work."""

    def sending(self) -> Any:
        """Inside, work goes behind all that was given so far, and is in nobody's way."""
        return contextlib.nullcontext()

    def sent(self) -> Any:
        """Something with query() and synchronize() for what `sending` was given."""
        return _Done()


class _Done:
    def query(self) -> bool:
        return True

    def synchronize(self) -> None:
        pass


class Cuda:
    """A CUDA device; see Host for what each method is for."""

    def __init__(self, torch: Any, device: Any) -> None:
        self._torch = torch
        self._device = device
        self._stream = torch.cuda.Stream(device)
        self._pool = torch.cuda.MemPool() if hasattr(torch.cuda, "MemPool") else None
        self._used: Dict[int, Any] = {}

    def own_memory(self) -> Any:
        if self._pool is None:
            return contextlib.nullcontext()
        return self._torch.cuda.use_mem_pool(self._pool, device=self._device)

    def pinned(self, rows: int, columns: int) -> Any:
        return self._torch.zeros((rows, columns), dtype=self._torch.int64, pin_memory=True)

    def zeros(self, rows: int, columns: int) -> Any:
        return self._torch.zeros((rows, columns), dtype=self._torch.int64, device=self._device)

    def like(self, tensor: Any) -> Any:
        return self._torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)

    def capturing(self) -> bool:
        return bool(self._torch.cuda.is_current_stream_capturing())

    def used(self) -> None:
        stream = self._torch.cuda.current_stream(self._device)
        self._used[stream.cuda_stream] = stream

    @contextlib.contextmanager
    def sending(self) -> Any:
        for stream in self._used.values():
            self._stream.wait_event(stream.record_event())
        self._used.clear()
        with self._torch.cuda.stream(self._stream):
            yield

    def sent(self) -> Any:
        return self._stream.record_event()


class _Buffers:
    """Room of one batch: table and sums on the device, and their halves on the host."""

    def __init__(self, device: Any) -> None:
        with device.own_memory():
            self.table, self.sums = device.zeros(SLOTS, 4), device.zeros(SLOTS, 2)
        self.host_table, self.host_sums = device.pinned(SLOTS, 4), device.pinned(SLOTS, 2)


class DeviceDigests:
    """The submissions to one device, in batches."""

    def __init__(self, torch: Any, device: Any) -> None:
        from detctl_probe import digest_triton  # imports triton: only where a tensor of a device is to be digested

        self._add_sums = digest_triton.add_sums
        self._torch = torch
        self.key = str(device)
        self._device = (Cuda if device.type == "cuda" else Host)(torch, device)
        self._free: List[_Buffers] = []
        self._open()
        # Compiles, so that a machine where Triton cannot (no C compiler, no driver) is known before anything hangs on it.
        with self._device.own_memory():
            self._launched([(self._buffers.table.data_ptr(), 1, 4, 0)])

    def _open(self) -> None:
        self._buffers = self._free.pop() if self._free else _Buffers(self._device)
        self._batch = Batch()
        self._count = 0

    def submit(self, tensors: Sequence[Any], first_index: int = 0) -> List[Union[Pending, Unfit]]:
        """A Pending of each, or why it has none; first_index holds for all of them."""
        if self._device.capturing():
            return [Unfit("under CUDA graph capture")] * len(tensors)
        found: List[Any] = []
        rows: List[Tuple[int, int, int, int]] = []
        held = []  # temporaries must live until the launch; then the allocator keeps the stream's order
        with self._device.own_memory():
            for tensor in tensors:
                try:
                    plain = as_integers(tensor)
                except Unfit as why:
                    found.append(why)
                    continue
                held.append(plain)
                words, width = plain.numel(), plain.element_size()
                if width == 8:
                    words, width = 2 * words, 4
                rows.append((plain.data_ptr(), words, width, first_index))
                found.append(None)
        slots = iter(self._launched(rows))
        return [next(slots) if one is None else one for one in found]

    def _launched(self, rows: List[Tuple[int, int, int, int]]) -> List[Pending]:
        made: List[Pending] = []
        while rows:
            if self._count == SLOTS:
                self.mark()
            now, rows = rows[: SLOTS - self._count], rows[SLOTS - self._count :]
            start, end = self._count, self._count + len(now)
            buffers = self._buffers
            buffers.host_table[start:end] = self._torch.tensor(now, dtype=self._torch.int64)
            table = buffers.table[start:end]
            table.copy_(buffers.host_table[start:end], non_blocking=True)
            self._add_sums(table, buffers.sums[start:end], now)
            made += [Pending(self._batch, slot) for slot in range(start, end)]
            self._count = end
            self._given()
        return made

    def _given(self) -> None:
        self._device.used()
        pending.OPEN[self.key] = self.mark

    def submit_copy(self, tensor: Any, make: Any) -> Union[Pending, Unfit]:
        """A Pending of make(copy on the host); Unfit where it has more than COPY_ELEMENTS_MAX elements."""
        if self._device.capturing():
            return Unfit("under CUDA graph capture")
        if tensor.numel() > COPY_ELEMENTS_MAX:
            return Unfit("more than %d elements: no sketch without waiting for the device" % COPY_ELEMENTS_MAX)
        with self._device.own_memory():
            plain = tensor.detach().contiguous()
        host = self._device.like(plain)
        host.copy_(plain, non_blocking=True)
        self._given()
        return Pending(self._batch, 0, lambda: make(host))

    def mark(self) -> None:
        """Ends the batch: its results are sent to the host behind all work given so far."""
        pending.OPEN.pop(self.key, None)
        buffers, count, batch = self._buffers, self._count, self._batch
        with self._device.sending():
            buffers.host_sums[:count].copy_(buffers.sums[:count], non_blocking=True)
            buffers.sums[:count].zero_()
            event = self._device.sent()

        def fetch() -> List[Tuple[int, int]]:
            event.synchronize()
            lanes = [(a, b) for a, b in buffers.host_sums[:count].tolist()]
            self._free.append(buffers)
            return lanes

        batch.marked(event.query, fetch)
        self._open()


_devices: Dict[str, Optional[DeviceDigests]] = {}  # None: cannot be had there


def of(tensor: Any) -> Optional[DeviceDigests]:
    """Where this tensor's digest can be taken without waiting; None on the CPU, and where Triton cannot be had (said once)."""
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
            say("no Triton on %s (%s: %s): digests there wait for the device" % (key, type(error).__name__, error))
    return _devices[key]


def submit(tensors: Sequence[Any]) -> List[Union[bytes, Pending, Unfit]]:
    """The digest of each, to come where its device computes it, or why it has none."""
    if not interpreted and all(tensor.is_cpu for tensor in tensors):
        return list(digest_tensors(tensors))
    found: List[Any] = [None] * len(tensors)
    groups: Dict[Optional[DeviceDigests], List[int]] = {}
    for place, tensor in enumerate(tensors):
        groups.setdefault(of(tensor), []).append(place)
    for device, places in groups.items():
        chosen = [tensors[place] for place in places]
        for place, digest in zip(places, device.submit(chosen) if device else digest_tensors(chosen)):  # noqa: B905 - strict came with Python 3.10
            found[place] = digest
    return found


def submit_one(tensor: Any, first_index: int = 0) -> Union[bytes, Pending]:
    """submit of one tensor, whose words start at first_index. Raises Unfit.

    A module's hook calls it: on the CPU it is digest_tensor and no more.
    """
    if tensor.is_cpu and not interpreted:
        return digest_tensor(tensor, first_index)
    device = of(tensor)
    made = device.submit([tensor], first_index)[0] if device else digest_tensor(tensor, first_index)
    if isinstance(made, Unfit):
        raise made
    return made


def submit_copy(tensor: Any, make: Callable[[Any], Any]) -> Union[Any, Pending]:
    """make(a copy of the tensor on the host), to come where its device is busy. Raises Unfit."""
    device = of(tensor)
    made = device.submit_copy(tensor, make) if device else make(tensor)
    if isinstance(made, Unfit):
        raise made
    return made


def forget() -> None:
    """In a forked child: nothing that belongs to a device of the parent may be used."""
    _devices.clear()
    pending.OPEN.clear()
