"""random.seed(os.getpid()) in a helper that looks harmless."""
# /// zoo
# outcome = "different"
# origin = "code"
# causes = ["identity-seed"]
# confirmed = ["identity-seed"]
# where = "random.seed(os.getpid())"
# mode = "audit"
# ///
import os
import random

import torch
from torch.utils.data import DataLoader


def setup():
    torch.manual_seed(0)
    random.seed(os.getpid())


setup()
names = list(range(40))
random.shuffle(names)
data = [torch.full((2,), n / 40.0) for n in names]
model = torch.nn.Linear(2, 1)
opt = torch.optim.RMSprop(model.parameters())
for x in DataLoader(data, batch_size=8):
    loss = (model(x) - 1).pow(2).mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
