"""BatchNorm, dropout, an evaluation loop after each epoch, a scheduler: clean."""
# /// zoo
# outcome = "identical"
# mode = "audit"
# ///
import random

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split


def seed_everything(seed):
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


seed_everything(1234)
full = TensorDataset(torch.randn(96, 3, 8, 8), torch.randint(0, 3, (96,)))
train, valid = random_split(full, [64, 32])
model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.2), nn.Flatten(), nn.Linear(288, 3))
opt = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
schedule = torch.optim.lr_scheduler.StepLR(opt, 1, 0.5)
for epoch in range(2):
    model.train()
    for x, y in DataLoader(train, batch_size=16, shuffle=True):
        loss = nn.functional.cross_entropy(model(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
    schedule.step()
    model.eval()
    with torch.no_grad():
        total = sum(float((model(x).argmax(1) == y).sum()) for x, y in DataLoader(valid, batch_size=16))
    print(f"epoch {epoch}: {total / 32:.3f}")
