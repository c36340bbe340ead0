"""A CUDA module without a GPU, for the probe's two-phase digests: work is queued on streams, and a schedule decides when it runs.

    cuda = FakeCuda(seed=3)
    digests = cuda.digests()             a DeviceDigests on it
    made = digests.submit([cuda.tensor(torch.ones(3))])
    cuda.run()                           all that can run, streams interleaved at random; or run(5): five pieces of work

What a real device may do, this one does: streams run in any order that their events allow, memory holds garbage until it is written,
and a host copy has happened only once its stream came to it. `faults` lists what a probe must never do: allocate outside its
own pool, launch on another device, wait in the middle, or touch a stream that is being captured.
"""

from __future__ import annotations

import contextlib
import ctypes
import random
from collections import deque
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from detctl_probe.digest import device_digests, n6_numpy, n6_triton

GARBAGE = -6148914691236517206  # 0xAAAA…


class OutOfDeviceMemoryError(RuntimeError):
    """As torch.cuda.OutOfMemoryError."""


class DeviceLostError(RuntimeError):
    """As a CUDA error: every later call fails with it."""


class Event:
    """Done once its stream has come to it."""

    def __init__(self, cuda: FakeCuda) -> None:
        self._cuda = cuda
        self.done = False

    def query(self) -> bool:
        self._cuda.check()
        return self.done

    def synchronize(self) -> None:
        self._cuda.check()
        self._cuda.waits += 1
        while not self.done:
            if not self._cuda.run(1):
                raise TimeoutError("this event never completes")


class Stream:
    """Pieces of work in order; one is a function, or an event to wait for."""

    def __init__(self, cuda: FakeCuda, number: int) -> None:
        self._cuda = cuda
        self.cuda_stream = number
        self.queue: deque[Callable[[], object] | Event] = deque()
        self.capturing = False

    def give(self, work: Callable[[], object] | Event) -> None:
        self._cuda.check()
        if self.capturing:
            self._cuda.faults.append("work on a stream that is being captured")
        self.queue.append(work)

    def record_event(self) -> Event:
        event = Event(self._cuda)
        self.give(lambda: setattr(event, "done", True))
        return event

    def wait_event(self, event: Event) -> None:
        self.give(event)

    def step(self) -> bool:
        """Does the first piece of work; False where there is none that may run."""
        if not self.queue:
            return False
        first = self.queue[0]
        if isinstance(first, Event):
            if not first.done:
                return False
        else:
            first()
        self.queue.popleft()
        return True


class FakeTensor:
    """A tensor on the device, or pinned: what is written to it by the device is written when the stream comes to it."""

    def __init__(self, cuda: FakeCuda, data: torch.Tensor, *, pinned: bool = False) -> None:
        self._cuda = cuda
        self.data = data
        self.pinned = pinned
        self.device = torch.device("cpu") if pinned else cuda.device
        self.is_cpu = pinned

    def __getattr__(self, name: str) -> Any:
        return getattr(self.data, name)  # what reads no content: shape, dtype, numel, data_ptr, is_contiguous …

    def _view(self, data: torch.Tensor) -> FakeTensor:
        return FakeTensor(self._cuda, data, pinned=self.pinned)

    def __getitem__(self, where: Any) -> FakeTensor:
        return self._view(self.data[where])

    def __iter__(self) -> Iterator[FakeTensor]:
        return (self._view(part) for part in self.data)

    def __setitem__(self, where: Any, value: torch.Tensor) -> None:
        if not self.pinned:
            self._cuda.faults.append("a copy that waits")
        self.data[where] = value

    def detach(self) -> FakeTensor:
        return self._view(self.data.detach())

    def resolve_neg(self) -> FakeTensor:
        return self

    def view(self, *what: Any) -> FakeTensor:
        return self._view(self.data.view(*what))

    def contiguous(self) -> FakeTensor:
        if self.data.is_contiguous():
            return self
        made = self._cuda.allocate(tuple(self.data.shape), self.data.dtype)
        self._cuda.largest_copy_bytes = max(self._cuda.largest_copy_bytes, made.data.untyped_storage().nbytes())
        self._cuda.current.give(lambda: made.data.copy_(self.data))
        return made

    def copy_(self, source: FakeTensor, non_blocking: bool = False) -> FakeTensor:
        if not non_blocking:
            self._cuda.faults.append("a copy that waits")
        self._cuda.current.give(lambda: self.data.copy_(source.data))
        return self

    def zero_(self) -> FakeTensor:
        self._cuda.current.give(lambda: self.data.zero_())
        return self

    def tolist(self) -> Any:
        if not self.pinned:
            self._cuda.faults.append("a read that waits")
        return self.data.tolist()


class FakeCuda:
    """The device and its torch; see the module's text."""

    def __init__(self, seed: int = 0, *, device: str = "cuda:0", current_device: str = "cuda:0") -> None:
        self.device = torch.device(device)
        self.faults: list[str] = []
        self.waits = 0  # calls of synchronize
        self.launches = 0
        self.lost = False
        self.bytes_left: int | None = None
        self.allocated: list[FakeTensor] = []
        self.largest_copy_bytes = 0
        self._random = random.Random(seed)
        self._streams: list[Stream] = []
        self._in_pool = False
        self._current_device = torch.device(current_device)
        self.current = self.stream()
        self.torch = SimpleNamespace(
            int64=torch.int64, zeros=self._zeros, empty=self._empty, tensor=torch.tensor,
            inference_mode=torch.inference_mode, no_grad=torch.no_grad, _C=torch._C,
            cuda=SimpleNamespace(
                Stream=lambda device: self.stream(), MemPool=object, use_mem_pool=self._use_mem_pool, device=self._device,
                current_stream=lambda device=None: self.current, stream=self.on, OutOfMemoryError=OutOfDeviceMemoryError,
                is_current_stream_capturing=lambda: self.current.capturing,
            ),
        )  # fmt: skip

    # -- what a test does -------------------------------------------------------------------------------------------
    def digests(self) -> device_digests.DeviceDigests:
        """DeviceDigests on this device; its kernel is add_sums below."""
        original, n6_triton.add_sums = n6_triton.add_sums, self.add_sums
        try:
            return device_digests.DeviceDigests(self.torch, self.device)
        finally:
            n6_triton.add_sums = original

    def stream(self) -> Stream:
        made = Stream(self, len(self._streams))
        self._streams.append(made)
        return made

    @contextlib.contextmanager
    def on(self, stream: Stream) -> Iterator[None]:
        before, self.current = self.current, stream
        try:
            yield
        finally:
            self.current = before

    def tensor(self, content: torch.Tensor) -> FakeTensor:
        """A tensor that the training computes on the current stream: garbage until that has run."""
        data = content.clone()
        data.untyped_storage().fill_(0xAA)
        self.current.give(lambda: data.copy_(content))
        return self.given(data)

    def given(self, content: torch.Tensor) -> FakeTensor:
        """A tensor with its layout, there already."""
        made = FakeTensor(self, content)
        self.allocated.append(made)
        return made

    def run(self, pieces: int | None = None) -> int:
        """Runs up to `pieces` pieces of work, all that can run without a number; returns how many ran."""
        ran = 0
        while pieces is None or ran < pieces:
            order = list(self._streams)
            self._random.shuffle(order)
            if not any(stream.step() for stream in order):
                break
            ran += 1
        return ran

    def check(self) -> None:
        """Raises DeviceLostError once the device is lost."""
        if self.lost:
            raise DeviceLostError("CUDA error: device-side assert triggered")

    # -- what the probe calls ---------------------------------------------------------------------------------------
    def allocate(self, shape: tuple[int, ...], dtype: torch.dtype) -> FakeTensor:
        if not self._in_pool:
            self.faults.append("an allocation outside of the probe's pool")
        if self.current.capturing:
            self.faults.append("an allocation under capture")
        data = torch.empty(shape, dtype=dtype)
        data.untyped_storage().fill_(0xAA)
        size = data.numel() * data.element_size()
        if self.bytes_left is not None:
            if size > self.bytes_left:
                raise OutOfDeviceMemoryError("CUDA out of memory")
            self.bytes_left -= size
        made = FakeTensor(self, data)
        self.allocated.append(made)  # a real allocator keeps the block for what the stream was given before
        return made

    def _zeros(self, shape: tuple[int, ...], dtype: torch.dtype, device: Any = None, pin_memory: bool = False) -> Any:
        if pin_memory:
            return FakeTensor(self, torch.zeros(shape, dtype=dtype), pinned=True)
        return self.allocate(shape, dtype).zero_()

    def _empty(self, shape: Any, dtype: torch.dtype, device: Any = None, pin_memory: bool = False) -> Any:
        assert pin_memory
        return FakeTensor(self, torch.full(shape, GARBAGE).to(dtype), pinned=True)

    @contextlib.contextmanager
    def _use_mem_pool(self, pool: Any, device: Any = None) -> Iterator[None]:
        before, self._in_pool = self._in_pool, True
        try:
            yield
        finally:
            self._in_pool = before

    @contextlib.contextmanager
    def _device(self, device: torch.device) -> Iterator[None]:
        before, self._current_device = self._current_device, device
        try:
            yield
        finally:
            self._current_device = before

    def add_sums(self, table: FakeTensor, out: FakeTensor, rows: Any) -> None:
        """The kernel's stead: reads the table, and memory at its addresses, when the stream comes to it."""
        self.launches += 1
        if self._current_device != self.device:
            self.faults.append(f"a launch on {self._current_device} for a tensor of {self.device}")

        def kernel() -> None:
            for row, (address, words, width, first) in enumerate(table.data.tolist()[: len(rows)]):
                if not words:
                    continue
                memory = (ctypes.c_uint8 * (words * width)).from_address(address)
                content = np.frombuffer(memory, dtype={1: np.uint8, 2: np.uint16, 4: np.uint32}[width])
                for lane, value in enumerate(n6_numpy.sums(content, first)):
                    out.data[row, lane] += value - (1 << 64) if value >> 63 else value

        self.current.give(kernel)
