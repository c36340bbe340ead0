"""Writes shards/part-N.pt; --backwards writes them in the other order. Each is a second younger than the one before."""
import os
import sys

import torch

os.makedirs("shards", exist_ok=True)
numbers = list(range(8))
for age, number in enumerate(reversed(numbers) if "--backwards" in sys.argv else numbers):
    g = torch.Generator().manual_seed(number)
    x = torch.randn(24, 12, generator=g)
    path = f"shards/part-{number}.pt"
    torch.save({"x": x, "y": x[:, :3].sum(1, keepdim=True)}, path)
    os.utime(path, (1_700_000_000 + age, 1_700_000_000 + age))
