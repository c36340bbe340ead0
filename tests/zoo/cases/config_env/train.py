"""A width or a rate comes from a variable of the shell."""
# /// zoo
# outcome = "different"
# origin = "environment"
# causes = ["config-drift"]
# mode = "machines"
# right_variables = { DROP_RATE = "0.5" }
# ///
import os

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(7)
rate = float(os.environ.get("DROP_RATE", "0.1"))
model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Dropout(rate), nn.Linear(16, 1))
data = TensorDataset(torch.randn(48, 6), torch.randn(48, 1))
opt = torch.optim.Adam(model.parameters())
for x, y in DataLoader(data, batch_size=8, shuffle=True):
    loss = nn.functional.mse_loss(model(x), y)
    loss.backward()
    opt.step()
    opt.zero_grad()
