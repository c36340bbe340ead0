"""An evaluation that draws noise runs in one configuration only."""
# /// zoo
# outcome = "different"
# origin = "code"
# causes = ["extra-rng-draw"]
# where = 'os.environ.get("EVALUATE")'
# mode = "machines"
# right_variables = { EVALUATE = "1" }
# ///
import os

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 1))
loader = DataLoader(TensorDataset(torch.randn(48, 6), torch.randn(48, 1)), batch_size=8, shuffle=True)
opt = torch.optim.SGD(model.parameters(), lr=0.05)


def evaluate():
    with torch.no_grad():
        probe = torch.randn(4, 6)
        return float(model(probe).mean())


for i, (x, y) in enumerate(loader):
    if i == 3 and os.environ.get("EVALUATE"):
        print("mean output", evaluate())
    loss = nn.functional.mse_loss(model(x), y)
    opt.zero_grad()
    loss.backward()
    opt.step()
