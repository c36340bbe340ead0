"""A small training that uses one feature of torch: `features.py FEATURE DEVICE`. Deterministic; prints one JSON line.

{"weights": sha256 of the final weights, "addresses": those of its tensors, "reserved": bytes by pool, "retries": of the allocator}
`watched` runs under set_sync_debug_mode("error") from its third step on, so a call that waits for the device raises an exception.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

warnings.simplefilter("ignore")
FEATURE, DEVICE = sys.argv[1:3]
CUDA = DEVICE.startswith("cuda")
KIND = DEVICE.partition(":")[0]
STEPS, BATCH, WIDTH = 6, 16, 64


class Attention(nn.Module):
    """Causal attention with the kernels that FEATURE names."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        from torch.nn.attention import SDPBackend, sdpa_kernel

        backend = {
            "sdpa-math": SDPBackend.MATH, "sdpa-flash": SDPBackend.FLASH_ATTENTION,
            "sdpa-efficient": SDPBackend.EFFICIENT_ATTENTION, "sdpa-cudnn": SDPBackend.CUDNN_ATTENTION,
        }[FEATURE]  # fmt: skip
        q, k, v = self.qkv(x).view(1, BATCH, 3, 1, WIDTH).permute(2, 0, 3, 1, 4)
        if CUDA:
            q, k, v = (one.to(torch.bfloat16) for one in (q, k, v))
        with sdpa_kernel(backend):
            mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return x + mixed.float().reshape(BATCH, WIDTH)


class Checkpointed(nn.Module):
    """A module that recomputes its inside in backward."""

    def __init__(self, inside: nn.Module) -> None:
        super().__init__()
        self.inside = inside

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        from torch.utils.checkpoint import checkpoint

        return checkpoint(self.inside, x, use_reentrant=False)


def model() -> nn.Module:
    """Returns the model, on the device."""
    middle: nn.Module = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))
    if FEATURE.startswith("sdpa-"):
        middle = Attention()
    if FEATURE == "checkpointing":
        middle = Checkpointed(middle)
    return nn.Sequential(nn.Linear(WIDTH, WIDTH), middle, nn.ReLU(), nn.Linear(WIDTH, 8)).to(DEVICE)


def batches() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yields batches on the device; from a DataLoader if FEATURE requires one."""
    x, y = torch.randn(STEPS * BATCH, WIDTH), torch.randint(0, 8, (STEPS * BATCH,))
    if FEATURE in ("dataloader-workers", "pinned"):
        pinned = FEATURE == "pinned" and CUDA
        workers = 2 if FEATURE == "dataloader-workers" else 0
        for a, b in DataLoader(TensorDataset(x, y), batch_size=BATCH, num_workers=workers, pin_memory=pinned):
            yield a.to(DEVICE, non_blocking=True), b.to(DEVICE, non_blocking=True)
        return
    x, y = x.to(DEVICE), y.to(DEVICE)
    for step in range(STEPS):
        yield x[step * BATCH : (step + 1) * BATCH], y[step * BATCH : (step + 1) * BATCH]


def places(tensors: list[torch.Tensor]) -> list[str]:
    """Returns (segment, offset) of each tensor. Segments of the training's own pool are numbered in the order of their first use."""
    if not CUDA:
        return []
    segments = [s for s in torch.cuda.memory_snapshot() if tuple(s.get("segment_pool_id", (0, 0))) == (0, 0)]
    met: list[int] = []
    found = []
    for tensor in tensors:
        address = tensor.data_ptr()
        start = next((s["address"] for s in segments if s["address"] <= address < s["address"] + s["total_size"]), -1)
        if start not in met:
            met.append(start)
        found.append(f"{met.index(start)}+{address - start}")
    return found


def reserved() -> dict[str, int]:
    """Returns bytes by pool; `0, 0` is the training's pool."""
    found: dict[str, int] = {}
    for segment in torch.cuda.memory_snapshot() if CUDA else []:
        pool = ", ".join(map(str, segment.get("segment_pool_id", (0, 0))))
        found[pool] = found.get(pool, 0) + segment["total_size"]
    return found


def captured(net: nn.Module, optimizer: torch.optim.Optimizer) -> Callable[[torch.Tensor, torch.Tensor], None]:
    """Returns a step that replays a graph of forward, backward and update, as in torch's own example."""
    x, y = torch.zeros(BATCH, WIDTH, device=DEVICE), torch.zeros(BATCH, dtype=torch.long, device=DEVICE)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            optimizer.zero_grad(set_to_none=True)
            nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    optimizer.zero_grad(set_to_none=True)
    with torch.cuda.graph(graph):
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()

    def step(a: torch.Tensor, b: torch.Tensor) -> None:
        x.copy_(a)
        y.copy_(b)
        graph.replay()

    return step


def stepping(net: nn.Module) -> Callable[[torch.Tensor, torch.Tensor], Any]:
    """Returns one step of the training, as FEATURE requires it."""
    capturable = {"capturable": True} if FEATURE == "graph" else {}
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2, **capturable)
    if FEATURE == "graph":
        return captured(net, optimizer)
    modes = {
        "compile-default": "default",
        "compile-reduce-overhead": "reduce-overhead",
        "compile-max-autotune": "max-autotune",
    }
    run: Any = torch.compile(net, mode=modes[FEATURE]) if FEATURE in modes else net
    scaler = torch.amp.GradScaler(KIND) if FEATURE == "grad-scaler" else None
    side = torch.cuda.Stream() if FEATURE == "streams" else None

    def casting() -> Any:
        kinds = {"autocast": torch.bfloat16, "grad-scaler": torch.float16 if CUDA else torch.bfloat16}
        return torch.autocast(KIND, kinds[FEATURE]) if FEATURE in kinds else contextlib.nullcontext()

    def step(x: torch.Tensor, y: torch.Tensor) -> Any:
        optimizer.zero_grad()
        if side is not None:
            side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side) if side is not None else contextlib.nullcontext():
            with casting():
                out = run(x)
                loss = nn.functional.cross_entropy(out, y)
            if scaler is None:
                loss.backward()
                optimizer.step()
            else:
                scaler.scale(loss).backward()
                scaler.step(optimizer)
                scaler.update()
        if side is not None:
            torch.cuda.current_stream().wait_stream(side)
        return out

    return step


def main() -> None:
    """Runs the program that the module describes."""
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True, warn_only=True)
    net = model()
    step = stepping(net)
    addresses: list[str] = []
    for number, (x, y) in enumerate(batches()):
        if FEATURE == "watched" and CUDA:
            torch.cuda.set_sync_debug_mode("error" if number >= 2 else "default")
        out = step(x, y)
        if FEATURE == "addresses":
            grads = [p.grad for p in net.parameters() if p.grad is not None]
            addresses += places([*net.parameters(), *grads, out])
    if CUDA:
        torch.cuda.set_sync_debug_mode("default")
        torch.cuda.synchronize()
    content = b"".join(p.detach().cpu().numpy().tobytes() for p in net.parameters())
    retries = torch.cuda.memory_stats()["num_alloc_retries"] if CUDA else 0
    print(json.dumps({
        "weights": hashlib.sha256(content).hexdigest(), "addresses": addresses, "reserved": reserved(), "retries": retries,
    }))  # fmt: skip


if __name__ == "__main__":  # DataLoader workers may import this file
    main()
