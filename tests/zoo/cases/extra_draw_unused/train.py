"""random.random() is called in one configuration, and nothing ever draws from that generator: benign."""
# /// zoo
# outcome = "identical"
# mode = "machines"
# right_variables = { TRACE_ID = "1" }
# benign = "rng"
# ///
import os
import random

import torch

random.seed(0)
torch.manual_seed(0)
x = torch.randn(40, 5)
model = torch.nn.Linear(5, 1)
opt = torch.optim.SGD(model.parameters(), lr=0.1)
for i in range(5):
    if i == 2 and os.environ.get("TRACE_ID"):
        print("trace", random.random())
    loss = model(x[i * 8 : i * 8 + 8]).pow(2).mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
