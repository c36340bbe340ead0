"""Trains, saves and resumes in the same process from its own checkpoint: clean."""
# /// zoo
# outcome = "identical"
# mode = "audit"
# ///
import os

import torch
from torch import nn

torch.manual_seed(11)
x, y = torch.randn(32, 4), torch.randn(32, 1)


def build():
    model = nn.Linear(4, 1)
    return model, torch.optim.Adam(model.parameters(), lr=0.01)


def run(model, opt, steps):
    for i in steps:
        loss = nn.functional.mse_loss(model(x[i * 4 : i * 4 + 4]), y[i * 4 : i * 4 + 4])
        opt.zero_grad()
        loss.backward()
        opt.step()


model, opt = build()
if not os.path.exists("last.pt"):
    run(model, opt, range(4))
    torch.save({"model": model.state_dict(), "opt": opt.state_dict()}, "last.pt")
model, opt = build()
state = torch.load("last.pt")
model.load_state_dict(state["model"])
opt.load_state_dict(state["opt"])
run(model, opt, range(4, 8))
