"""Restores everything that matters. Its list of losses is for plots alone, and the noise has a generator without a seed."""
import argparse
import numpy as np
import torch
from torch import nn

ap = argparse.ArgumentParser(); ap.add_argument("--resume"); a = ap.parse_args()


class Fit:
    def __init__(self):
        torch.manual_seed(8)
        self.net = nn.Sequential(nn.Linear(4, 12), nn.Tanh(), nn.Linear(12, 4))
        self.opt = torch.optim.Adam(self.net.parameters(), 2e-3)
        self.noise = np.random.default_rng()
        self.losses = []
        self.step = 0

    def one(self):
        x = torch.randn(16, 4)
        dirty = x + torch.from_numpy(self.noise.normal(0, 0.3, (16, 4))).float()
        loss = (self.net(dirty) - x).pow(2).mean()
        self.opt.zero_grad(); loss.backward(); self.opt.step()
        self.losses.append(loss.item()); self.step += 1


fit = Fit()
if a.resume:
    s = torch.load(a.resume); fit.net.load_state_dict(s["net"]); fit.opt.load_state_dict(s["opt"]); torch.set_rng_state(s["rng"]); fit.step = s["step"]
while fit.step < 16:
    if fit.step == 8 and not a.resume: torch.save({"net": fit.net.state_dict(), "opt": fit.opt.state_dict(), "rng": torch.get_rng_state(), "step": 8}, "eight.pt")
    fit.one()
