"""Labels by the order in which os.scandir shows the files."""
# /// zoo
# outcome = "different"
# origin = "environment"
# causes = ["filesystem-order"]
# confirmed = ["filesystem-order"]
# where = "os.scandir"
# mode = "machines"
# data = "order"
# ///
import os
import sys

import torch

torch.manual_seed(0)
x, y = [], []
for label, entry in enumerate(os.scandir(sys.argv[2])):
    with open(entry.path) as file:
        x.append([float(word) for word in file.read().split()])
    y.append(label % 4)
x, y = torch.tensor(x), torch.tensor(y)
model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))
opt = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(5):
    opt.zero_grad()
    torch.nn.functional.cross_entropy(model(x), y).backward()
    opt.step()
