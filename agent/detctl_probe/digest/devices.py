"""The calls that device_digests.py makes on a device: a CUDA device, or the CPU for Triton's interpreter in tests."""

from __future__ import annotations

import contextlib
from typing import Any, Dict


class Host:
    """Stands for a device in Triton's interpreter, on the CPU: every call is complete when it returns."""

    out_of_memory: Any = MemoryError

    def __init__(self, torch: Any, device: Any) -> None:
        self._torch = torch

    def current(self) -> Any:
        """A context in which launches go to this device."""
        return contextlib.nullcontext()

    def own_memory(self) -> Any:
        """A context in which memory comes from the probe's own pool."""
        return contextlib.nullcontext()

    def pinned(self, rows: int, columns: int) -> Any:
        """A table of int64 zeros on the host; `zeros` makes one on the device."""
        return self._torch.zeros((rows, columns), dtype=self._torch.int64, device="cpu")

    zeros = pinned

    def like(self, tensor: Any) -> Any:
        """An empty tensor on the host of the same shape and dtype."""
        return self._torch.empty_like(tensor, device="cpu")

    def given(self) -> Any:
        """An event after the current work of the current stream; None if nothing needs to wait for it."""
        return None

    def used(self, ready: Any) -> None:
        """Makes the next work of the current stream wait for `ready`."""

    def sending(self) -> Any:
        """A context whose work runs after all work so far, without delaying the training."""
        return contextlib.nullcontext()

    def sent(self) -> Any:
        """An event, with query() and synchronize(), after the work of `sending`."""
        return Done()


class Done:
    """An event that has happened."""

    def query(self) -> bool:
        return True

    def synchronize(self) -> None:
        pass


class Cuda:
    """A CUDA device; Host documents the methods."""

    def __init__(self, torch: Any, device: Any) -> None:
        self._torch = torch
        self._device = device
        self.out_of_memory = torch.cuda.OutOfMemoryError
        with self.current():  # a pool belongs to the device that is current when it is made
            self._stream = torch.cuda.Stream(device)
            self._pool = torch.cuda.MemPool() if hasattr(torch.cuda, "MemPool") else None
        self._used: Dict[int, Any] = {}

    def current(self) -> Any:
        return self._torch.cuda.device(self._device)

    def own_memory(self) -> Any:
        if self._pool is None:
            return contextlib.nullcontext()
        return self._torch.cuda.use_mem_pool(self._pool, device=self._device)

    def pinned(self, rows: int, columns: int) -> Any:
        return self._torch.zeros((rows, columns), dtype=self._torch.int64, device="cpu", pin_memory=True)

    def zeros(self, rows: int, columns: int) -> Any:
        return self._torch.zeros((rows, columns), dtype=self._torch.int64, device=self._device)

    def like(self, tensor: Any) -> Any:
        return self._torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu", pin_memory=True)

    def given(self) -> Any:
        return self._torch.cuda.current_stream(self._device).record_event()

    def used(self, ready: Any) -> None:
        stream = self._torch.cuda.current_stream(self._device)
        if stream.cuda_stream not in self._used:
            self._used[stream.cuda_stream] = stream
            if ready is not None:
                stream.wait_event(ready)

    @contextlib.contextmanager
    def sending(self) -> Any:
        for stream in self._used.values():
            self._stream.wait_event(stream.record_event())
        self._used.clear()
        with self._torch.cuda.stream(self._stream):
            yield

    def sent(self) -> Any:
        return self._stream.record_event()
