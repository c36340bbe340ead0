"""Trains in a process of its own, and step_overhead.py times it: `_step_training.py SOCKET SIDE MODEL WORKERS THREADS`.

It connects to SOCKET and reads lines. For the line `N` it runs N steps and answers with one JSON line
{"steps": [seconds …], "cpu": [seconds …], "probe": [seconds …], "faults": [page faults …], "rss_kb": …, "peak_kb": …};
It ends when the connection ends. A step is everything that a training does between two batches: it takes the next batch of a real
DataLoader and computes forward, loss, backward and the optimizer's step. SIDE selects what hashes: `md5` and `debugmode` do what
people do by hand. `bare` and the sides with the probe hash nothing here.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import resource
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

GPT_WIDTH, GPT_LAYERS, GPT_HEADS, GPT_VOCABULARY, GPT_LENGTH, GPT_BATCH = 256, 4, 8, 1000, 128, 16
IMAGE_BATCH = 32


class Images(Dataset[tuple[torch.Tensor, int]]):
    """3 x 64 x 64 images, made from bytes and normalised as usual. The data set is too long to end."""

    def __init__(self) -> None:
        self._bytes = torch.randint(256, (256, 3, 64, 64), dtype=torch.uint8)

    def __len__(self) -> int:
        return 1_000_000

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self._bytes[index % 256].float().div(255).sub(0.5).div(0.25), index % 10


class Tokens(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Windows of a text of numbers, and the same windows shifted by one."""

    def __init__(self) -> None:
        self._text = torch.randint(GPT_VOCABULARY, (1 << 16,))

    def __len__(self) -> int:
        return 1_000_000

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        at = index * 7919 % (len(self._text) - GPT_LENGTH - 1)
        return self._text[at : at + GPT_LENGTH], self._text[at + 1 : at + GPT_LENGTH + 1]


class Block(nn.Module):
    """Pre-norm attention and MLP."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(GPT_WIDTH), nn.LayerNorm(GPT_WIDTH)
        self.qkv, self.out = nn.Linear(GPT_WIDTH, 3 * GPT_WIDTH), nn.Linear(GPT_WIDTH, GPT_WIDTH)
        self.mlp = nn.Sequential(nn.Linear(GPT_WIDTH, 4 * GPT_WIDTH), nn.GELU(), nn.Linear(4 * GPT_WIDTH, GPT_WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(batch, length, 3, GPT_HEADS, width // GPT_HEADS).permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        return x + self.mlp(self.norm2(x))


class TinyGPT(nn.Module):
    """Embeddings, blocks, head."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(GPT_VOCABULARY, GPT_WIDTH), nn.Embedding(GPT_LENGTH, GPT_WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(GPT_LAYERS))
        self.norm, self.head = nn.LayerNorm(GPT_WIDTH), nn.Linear(GPT_WIDTH, GPT_VOCABULARY)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.tokens(tokens) + self.positions(torch.arange(tokens.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)).flatten(0, 1)


def made(name: str) -> tuple[nn.Module, torch.optim.Optimizer, Dataset[Any], int]:
    """Returns (model, optimizer, data, batch size)."""
    if name == "resnet18":
        import torchvision

        model: nn.Module = torchvision.models.resnet18(num_classes=10)
        return model, torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9), Images(), IMAGE_BATCH
    model = TinyGPT()
    return model, torch.optim.AdamW(model.parameters(), lr=3e-4), Tokens(), GPT_BATCH


def md5(tensor: torch.Tensor) -> str:
    return hashlib.md5(tensor.detach().contiguous().numpy().data).hexdigest()


def training(side: str, model_name: str, workers: int) -> Callable[[], None]:
    """Returns a function that trains one step."""
    torch.manual_seed(0)
    model, optimizer, data, size = made(model_name)
    batches: Iterator[Any] = iter(DataLoader(data, batch_size=size, shuffle=True, num_workers=workers, drop_last=True))
    hashes: list[str] = []
    if side == "md5":

        def hook(_: nn.Module, __: Any, output: Any) -> None:
            hashes.append(md5(output))

        for module in model.modules():
            module.register_forward_hook(hook)

    def step() -> None:
        x, y = next(batches)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y.flatten()).backward()
        if side == "md5":
            hashes.extend(md5(p.grad) for p in model.parameters() if p.grad is not None)
        optimizer.step()
        if side == "md5":
            hashes.extend(md5(p) for p in model.parameters())
            hashes.clear()

    def hashed_step() -> None:
        with DebugMode() as mode, mode.log_tensor_hashes(hash_fn="hash_tensor"):
            step()

    if side == "debugmode":
        from torch.utils._debug_mode import DebugMode

        return hashed_step
    return step


def memory_kb(what: str) -> int:
    """Returns VmRSS (now) or VmHWM (peak) of this process, in kB."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(what + ":"):
                return int(line.split()[1])
    return 0


def probe_seconds() -> float:
    """Returns the seconds that the probe has counted for itself in this process; 0 without a probe."""
    observing = sys.modules.get("detctl_probe.observe.model.steps")
    return sum(sum(model.recorder.costs.by_stage.values()) for model in observing._models) if observing else 0.0


def page_faults() -> int:
    """Returns how many page faults of this process needed no disk: memory that the allocator gave back and requested again."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def main() -> None:
    address, side, model, workers, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    step = training(side, model, int(workers))
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        orders = connection.makefile("rw")
        orders.write(side + "\n")
        orders.flush()
        for line in orders:
            counted: dict[str, list[float]] = {"steps": [], "cpu": [], "probe": [], "faults": []}
            clocks = (time.perf_counter, time.process_time, probe_seconds, page_faults)
            for _ in range(int(line)):
                before = [clock() for clock in clocks]
                step()
                for values, clock, since in zip(counted.values(), clocks, before, strict=True):
                    values.append(clock() - since)
            memory = {"rss_kb": memory_kb("VmRSS"), "peak_kb": memory_kb("VmHWM")}
            orders.write(json.dumps({**counted, **memory}) + "\n")
            orders.flush()


if __name__ == "__main__":
    main()
