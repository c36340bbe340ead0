"""Pairs drawn inside __getitem__ from the global random module, which nobody seeds."""
# /// zoo
# outcome = "different"
# origin = "code"
# causes = ["unseeded-rng"]
# confirmed = ["unseeded-rng"]
# where = "random.random()"
# mode = "audit"
# ///
import random

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Pairs(Dataset):
    def __init__(self):
        self.x = torch.linspace(-1, 1, 160).view(40, 4)
        self.y = [i % 4 for i in range(40)]

    def __len__(self):
        return 40

    def __getitem__(self, index):
        same = random.random() < 0.5
        other = random.choice([j for j in range(40) if (self.y[j] == self.y[index]) == same])
        return self.x[index], self.x[other], torch.tensor(float(same))


torch.manual_seed(0)
net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
opt = torch.optim.Adam(net.parameters(), lr=1e-2)
for a, b, same in DataLoader(Pairs(), batch_size=8, shuffle=True):
    distance = (net(a) - net(b)).norm(dim=1)
    loss = (same * distance + (1 - same) * torch.relu(1 - distance)).mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
