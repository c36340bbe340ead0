"""Trains for the measurement of overhead: `timed.py MODEL SIDE DEVICE SIZE`, in a process of its own.

It reads lines from its standard input. For the line `N` it runs N steps and answers with one JSON line
{"seconds": …, "peak_bytes": …} for all of them, including the device's work. It ends when its input ends. SIDE selects what hashes:
`debugmode` and `md5` do what people do by hand; other sides hash nothing here.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
import time
import warnings
from collections.abc import Callable

import torch
from models import GPT, ResNet
from torch import nn

warnings.simplefilter("ignore")
MODEL, SIDE, DEVICE, SIZE = sys.argv[1:]
CUDA, SMALL = DEVICE.startswith("cuda"), SIZE == "small"


def parts() -> tuple[nn.Module, Callable[[nn.Module], torch.Tensor]]:
    """Returns (model on the device, loss of one step)."""
    with torch.device(
        DEVICE
    ):  # draws the weights on the device, because the CPU takes seconds for a third of a billion
        if MODEL == "resnet50":
            model: nn.Module = ResNet((1, 1, 1, 1), 10, 8) if SMALL else ResNet()
            shape, classes = ((2, 3, 32, 32), 10) if SMALL else ((64, 3, 224, 224), 1000)
            x, y = torch.randn(shape).to(memory_format=torch.channels_last), torch.randint(0, classes, (shape[0],))
            model.to(memory_format=torch.channels_last)
        else:
            model = GPT(2, 64, 4, 500, 32) if SMALL else GPT()
            vocabulary, shape = (500, (2, 32)) if SMALL else (32_000, (4, 512))
            text = torch.randint(0, vocabulary, (shape[0], shape[1] + 1))
            x, y = text[:, :-1].contiguous(), text[:, 1:].flatten()

    def loss(model: nn.Module) -> torch.Tensor:
        with torch.autocast(DEVICE.partition(":")[0], torch.bfloat16):
            return nn.functional.cross_entropy(model(x), y)

    return model, loss


def main() -> None:
    """Runs the program that the module describes."""
    torch.manual_seed(0)
    answers = sys.stdout
    model, loss = parts()
    optimizer: torch.optim.Optimizer
    if MODEL == "resnet50":
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    else:
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    seen: list[str] = []

    def hashed(tensor: torch.Tensor) -> None:
        flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        seen.append(hashlib.md5(flat.numpy().data).hexdigest())

    if SIDE == "md5":
        for module in model.modules():
            module.register_forward_hook(lambda _, __, output: hashed(output))

    def mode() -> contextlib.AbstractContextManager[object]:
        if SIDE != "debugmode":
            return contextlib.nullcontext()
        from torch.utils._debug_mode import DebugMode

        return hashing(DebugMode())

    @contextlib.contextmanager
    def hashing(debug):  # type: ignore[no-untyped-def]
        with debug, debug.log_tensor_hashes(hash_fn="hash_tensor"):
            yield

    def step() -> None:
        with mode():
            optimizer.zero_grad()
            loss(model).backward()
            if SIDE == "md5":
                for parameter in model.parameters():
                    hashed(parameter)
                    hashed(parameter.grad)
            optimizer.step()

    answers.write(json.dumps({"parameters": sum(p.numel() for p in model.parameters())}) + "\n")
    answers.flush()
    for line in sys.stdin:
        if CUDA:
            torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(int(line)):
            step()
        if CUDA:
            torch.cuda.synchronize()
        seconds = time.perf_counter() - start
        seen.clear()
        peak = torch.cuda.max_memory_reserved() if CUDA else 0
        answers.write(json.dumps({"seconds": seconds, "peak_bytes": peak}) + "\n")
        answers.flush()


main()
