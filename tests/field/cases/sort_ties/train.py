import os

import numpy as np
import torch
from torch import nn


def subject(name):
    return name.split("_")[0]


root = "scans"
names = sorted(os.listdir(root), key=subject)
torch.manual_seed(6)
net = nn.LSTM(5, 12, batch_first=True)
head = nn.Linear(12, 5)
opt = torch.optim.RMSprop([*net.parameters(), *head.parameters()], 1e-2)
for at in range(0, len(names), 4):
    part = names[at : at + 4]
    x = torch.tensor(np.stack([np.loadtxt(os.path.join(root, n)) for n in part]), dtype=torch.float32)
    y = torch.tensor([int(subject(n)[1:]) for n in part])
    loss = nn.functional.cross_entropy(head(net(x)[0][:, -1]), y)
    opt.zero_grad()
    loss.backward()
    opt.step()
print(loss.item())
