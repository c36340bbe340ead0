"""The seed is the time of day, by datetime."""
# /// zoo
# outcome = "different"
# origin = "code"
# causes = ["identity-seed"]
# confirmed = ["identity-seed"]
# where = "torch.manual_seed"
# mode = "audit"
# ///
from datetime import datetime

import torch

torch.manual_seed(int(datetime.now().timestamp() * 1000) % 2**31)

model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))
opt = torch.optim.SGD(model.parameters(), lr=0.05)
for _ in range(5):
    x = torch.ones(4, 8)
    loss = model(x).square().mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
