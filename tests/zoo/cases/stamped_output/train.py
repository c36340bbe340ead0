"""Checkpoints go to a folder with the time in its name, as Hydra makes one: where they lie is no difference."""
# /// zoo
# outcome = "identical"
# mode = "audit"
# ///
import datetime
import os
import uuid

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(4)
folder = os.path.join("outputs", datetime.datetime.now().strftime("%Y-%m-%d/%H-%M-%S-%f"))
os.makedirs(folder)
data = TensorDataset(torch.randn(48, 6), torch.randn(48, 1))
os.chdir(folder)
model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 1))
opt = torch.optim.Adam(model.parameters())
for epoch in range(2):
    for x, y in DataLoader(data, batch_size=8, shuffle=True):
        loss = nn.functional.mse_loss(model(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
    torch.save({"model": model.state_dict(), "epoch": epoch}, f"{datetime.date.today()}-{uuid.uuid4()}.pt")
