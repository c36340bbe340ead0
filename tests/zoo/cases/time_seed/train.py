"""The seed is the clock."""
# /// zoo
# outcome = "different"
# origin = "code"
# causes = ["identity-seed"]
# confirmed = ["identity-seed"]
# where = "torch.manual_seed(int(time.time()"
# mode = "audit"
# ///
import time

import torch

torch.manual_seed(int(time.time() * 1000) % 2**31)
model = torch.nn.Linear(3, 1)
opt = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(5):
    x = torch.randn(8, 3)
    loss = model(x).pow(2).mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
