"""The Triton form on a CUDA device: values, no waiting, graphs. Skipped where there is none."""

from __future__ import annotations

import pytest
import torch
from detctl_probe.digest import device_digests, n6, pending

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

DTYPES = [
    "bool",
    "uint8",
    "int16",
    "int32",
    "int64",
    "float16",
    "bfloat16",
    "float32",
    "float64",
    "complex64",
    "float8_e4m3fn",
]


def known(made: list[object]) -> list[object]:
    pending.mark()
    found = []
    for one in made:
        if isinstance(one, pending.Pending):
            one.batch.wait()
            found.append(one.value())
        else:
            found.append(one)
    return found


@pytest.mark.parametrize("dtype", DTYPES)
def test_equal_to_the_cpu(dtype: str) -> None:
    for count in (0, 1, 1023, 1024, 1025, 1_000_003):
        tensor = (torch.arange(count) % 113).float().to(getattr(torch, dtype))
        assert known(device_digests.submit([tensor.cuda()])) == [n6.digest_tensor(tensor)]


def test_no_synchronisation() -> None:
    tensors = [torch.randn(100, 1000, device="cuda"), torch.randn(64, 64, device="cuda").t()]
    known(device_digests.submit(tensors))  # compiles
    torch.cuda.set_sync_debug_mode("error")
    try:
        made = device_digests.submit(tensors)
        pending.mark()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert known(made) == [n6.digest_tensor(tensor.cpu()) for tensor in tensors]


def test_nothing_under_graph_capture() -> None:
    static = torch.ones(8, device="cuda")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        doubled = static * 2
        (made,) = device_digests.submit([doubled])
    assert isinstance(made, n6.NoDigestError)
    graph.replay()
    assert torch.equal(doubled, torch.full((8,), 2.0, device="cuda"))
