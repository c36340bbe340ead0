"""Twenty differences between the environments and not one that matters."""
# /// zoo
# outcome = "identical"
# mode = "machines"
# data = "same"
# decoys = true
# ///
import sys
from pathlib import Path

import torch
from torch.utils.data import DataLoader

torch.manual_seed(0)
rows = [[float(word) for word in path.read_text().split()] for path in sorted(Path(sys.argv[2]).glob("*.txt"))]
model = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.Dropout(0.1), torch.nn.Linear(32, 1))
opt = torch.optim.Adam(model.parameters())
for x in DataLoader(torch.tensor(rows), batch_size=8, shuffle=True):
    loss = model(x).square().mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
