"""Classes are numbered in the order in which os.walk meets their folders."""
# /// zoo
# outcome = "different"
# origin = "environment"
# causes = ["filesystem-order"]
# confirmed = ["filesystem-order"]
# where = "os.walk"
# mode = "machines"
# data = "order"
# ///
import os
import sys

import torch

labels = {}
rows, wanted = [], []
for folder, _, names in os.walk(sys.argv[2]):
    for name in names:
        label = labels.setdefault(name[0], len(labels))
        with open(os.path.join(folder, name)) as file:
            rows.append([float(word) for word in file.read().split()])
        wanted.append(float(label))
torch.manual_seed(0)
order = torch.randperm(len(rows))
data, target = torch.tensor(rows)[order], torch.tensor(wanted)[order]

model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))
opt = torch.optim.SGD(model.parameters(), lr=0.05)
for start in range(0, 32, 8):
    loss = (model(data[start : start + 8]).squeeze(1) - target[start : start + 8]).square().mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
