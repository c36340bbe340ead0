"""An unsorted scandir, a hash of words and another instruction set at once, among twenty decoys."""
# /// zoo
# outcome = "different"
# origin = "environment"
# causes = ["filesystem-order", "unseeded-rng", "cpu-isa"]
# confirmed = ["filesystem-order", "unseeded-rng", "cpu-isa"]
# mode = "machines"
# data = "order"
# decoys = true
# right_variables = { ATEN_CPU_CAPABILITY = "default" }
# any_order = true
# ///
import os
import random
import sys

import torch
from torch.utils.data import DataLoader, Dataset


class Numbers(Dataset):
    def __init__(self, folder):
        with os.scandir(folder) as entries:
            self.paths = [entry.path for entry in entries if entry.name.endswith(".txt")]

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        with open(self.paths[index]) as file:
            x = torch.tensor([float(word) for word in file.read().split()])
        return x if random.random() < 0.5 else x.flip(0)


torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(8, 256), torch.nn.GELU(), torch.nn.Linear(256, 1))
opt = torch.optim.SGD(model.parameters(), lr=0.01)
for x in DataLoader(Numbers(sys.argv[2]), batch_size=4):
    loss = model(x).exp().mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
