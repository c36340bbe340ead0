"""Trains one rank of a data-parallel training: `collective.py DEVICE RENDEZVOUS_FILE`, with the variables RANK and WORLD_SIZE."""

from __future__ import annotations

import hashlib
import os
import sys

import torch
import torch.distributed as dist
from torch import nn

DEVICE, RENDEZVOUS = sys.argv[1:3]
RANK, WORLD_SIZE = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])


def main() -> None:
    """Trains with all_reduce, and prints the digest of the weights, which is the same on every rank."""
    torch.manual_seed(0)
    cuda = DEVICE.startswith("cuda")
    if cuda:
        torch.cuda.set_device(DEVICE)
    dist.init_process_group(
        "nccl" if cuda else "gloo", init_method=f"file://{RENDEZVOUS}", rank=RANK, world_size=WORLD_SIZE
    )
    net = nn.Linear(32, 4).to(DEVICE)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    generator = torch.Generator().manual_seed(RANK)
    for _ in range(3):
        x = torch.randn(8, 32, generator=generator).to(DEVICE)
        optimizer.zero_grad()
        net(x).square().mean().backward()
        for parameter in net.parameters():
            work = dist.all_reduce(parameter.grad, async_op=True)
            work.wait()
        gathered = [torch.empty(1, device=DEVICE) for _ in range(WORLD_SIZE)]
        dist.all_gather(gathered, torch.full((1,), float(RANK), device=DEVICE))
        optimizer.step()
    weights = b"".join(p.detach().cpu().numpy().tobytes() for p in net.parameters())
    print(hashlib.sha256(weights).hexdigest())
    dist.destroy_process_group()


main()
