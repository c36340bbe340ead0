"""The second machine lacks one file."""
# /// zoo
# outcome = "different"
# origin = "environment"
# causes = ["data-content"]
# mode = "machines"
# data = "missing"
# ///
import os
import sys

import torch
from torch.utils.data import DataLoader, Dataset


class Folder(Dataset):
    def __init__(self, root):
        with os.scandir(root) as entries:
            self.files = sorted(e.path for e in entries if e.is_file())

    def __getitem__(self, i):
        with open(self.files[i]) as f:
            return torch.tensor(list(map(float, f.read().split())))

    def __len__(self):
        return len(self.files)


torch.manual_seed(5)
net = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
opt = torch.optim.SGD(net.parameters(), lr=0.05)
for x in DataLoader(Folder(sys.argv[2]), batch_size=4, shuffle=False):
    opt.zero_grad()
    net(x).pow(2).mean().backward()
    opt.step()
