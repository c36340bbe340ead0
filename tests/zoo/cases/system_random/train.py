"""random.SystemRandom shuffles the list of items."""
# /// zoo
# outcome = "different"
# origin = "code"
# causes = ["unseeded-rng"]
# where = "random.SystemRandom()"
# mode = "audit"
# ///
import random

import torch
from torch.utils.data import DataLoader

random.seed(0)
torch.manual_seed(0)
items = [torch.full((3,), float(i)) for i in range(40)]
random.SystemRandom().shuffle(items)
net = torch.nn.Linear(3, 1)
opt = torch.optim.SGD(net.parameters(), lr=1e-4)
for x in DataLoader(items, batch_size=8):
    loss = net(x).pow(2).mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
