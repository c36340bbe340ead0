"""Threads, files and a generator without a seed, at once."""
# /// zoo
# outcome = "different"
# origin = "environment"
# causes = ["filesystem-order", "unseeded-rng", "thread-count"]
# mode = "machines"
# data = "order"
# decoys = true
# confirmed = ["filesystem-order", "unseeded-rng", "thread-count"]
# any_order = true
# left_variables = { OMP_NUM_THREADS = "1" }
# right_variables = { OMP_NUM_THREADS = "2" }
# ///
import os
import sys

import numpy as np
import torch

rng = np.random.default_rng()
torch.manual_seed(0)
rows = []
for name in os.listdir(sys.argv[2]):
    with open(os.path.join(sys.argv[2], name)) as file:
        rows.append([float(word) for word in file.read().split()])
wide = torch.nn.Parameter(torch.randn(1 << 20))

model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))
opt = torch.optim.SGD(model.parameters(), lr=0.05)
opt.add_param_group({"params": [wide]})
for start in range(0, 32, 8):
    x = torch.tensor(rows[start : start + 8]) + torch.from_numpy(rng.normal(size=(8, 8)).astype(np.float32))
    loss = model(x).square().mean() + (wide * x.mean()).exp().sum() * 1e-6
    opt.zero_grad()
    loss.backward()
    opt.step()
