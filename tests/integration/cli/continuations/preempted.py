"""Continues from the newest checkpoint of a folder outside, as jobs on a preemptible cluster do."""

import os
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

STORE = Path(os.environ["STORE"])
torch.manual_seed(0)
x = torch.linspace(-1, 1, 96).view(48, 2)
loader = DataLoader(TensorDataset(x, x.prod(1)), batch_size=8, shuffle=True)
model = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
begin = 0
if (STORE / "last.pt").exists():
    snapshot = torch.load(STORE / "last.pt")
    model.load_state_dict(snapshot["model"])
    optimizer.load_state_dict(snapshot["optimizer"])
    begin = snapshot["next"]
for epoch in range(begin, 4):
    for inputs, target in loader:
        loss = nn.functional.mse_loss(model(inputs).squeeze(1), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if epoch == 1 and begin == 0:
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "next": 2}, STORE / "last.pt")
