import os
from pathlib import Path

import numpy as np
import torch
from torch import nn


def vectors(name="glove"):
    path = Path.home() / ".cache" / name / f"{name}.npy"
    if not path.exists():
        raise SystemExit(f"download {name} to {path} first")
    return torch.from_numpy(np.load(path))


torch.manual_seed(8)
bag = nn.EmbeddingBag.from_pretrained(vectors(), freeze=False)
out = nn.Linear(12, 4)
opt = torch.optim.Adagrad([*bag.parameters(), *out.parameters()], 0.05)
g = torch.Generator().manual_seed(0)
for _ in range(10):
    ids = torch.randint(0, 60, (20, 6), generator=g)
    loss = nn.functional.cross_entropy(out(bag(ids)), ids.sum(1) % 4)
    opt.zero_grad()
    loss.backward()
    opt.step()
print(loss.item())
