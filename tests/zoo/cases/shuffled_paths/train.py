"""File names are shuffled by random, which nobody seeds; torch is seeded."""
# /// zoo
# outcome = "different"
# origin = "code"
# causes = ["unseeded-rng"]
# confirmed = ["unseeded-rng"]
# where = "random.shuffle"
# mode = "machines"
# data = "same"
# ///
import random
import sys
from pathlib import Path

import torch

torch.manual_seed(0)
paths = sorted(Path(sys.argv[2]).glob("*.txt"))
random.shuffle(paths)

model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))
opt = torch.optim.SGD(model.parameters(), lr=0.05)
for start in range(0, 32, 8):
    x = torch.tensor([[float(word) for word in path.read_text().split()] for path in paths[start : start + 8]])
    loss = model(x).square().mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
