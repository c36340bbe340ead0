import argparse
import glob
import os

import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset


class Shards(IterableDataset):
    """Streams the shards, the oldest first."""

    def __init__(self, pattern):
        self.files = sorted(glob.glob(pattern), key=os.path.getmtime)

    def __iter__(self):
        for path in self.files:
            shard = torch.load(path)
            yield from zip(shard["x"], shard["y"])


def parse():
    p = argparse.ArgumentParser()
    p.add_argument("--data", default="shards/part-*.pt")
    p.add_argument("--seed", type=int, default=7)
    return p.parse_args()


args = parse()
torch.manual_seed(args.seed)
model = nn.Sequential(nn.Linear(12, 32), nn.GELU(), nn.Linear(32, 1))
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
for step, (x, y) in enumerate(DataLoader(Shards(args.data), batch_size=16)):
    loss = nn.functional.smooth_l1_loss(model(x), y)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    if step % 4 == 0:
        print(step, loss.item())
