import argparse
import os
import random

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Noisy(Dataset):
    def __init__(self, n=120):
        rng = np.random.default_rng(12)
        self.clean = rng.normal(size=(n, 9)).astype(np.float32)

    def __len__(self):
        return len(self.clean)

    def __getitem__(self, i):
        noisy = self.clean[i] + np.random.normal(0, 0.1, 9).astype(np.float32)
        return (noisy[::-1].copy() if random.random() < 0.5 else noisy), self.clean[i]


def states():
    return {"torch": torch.get_rng_state(), "numpy": np.random.get_state(), "random": random.getstate()}


def restore(s):
    torch.set_rng_state(s["torch"])
    np.random.set_state(s["numpy"])
    random.setstate(s["random"])


p = argparse.ArgumentParser()
p.add_argument("--epochs", type=int, default=4)
p.add_argument("--resume")
a = p.parse_args()
random.seed(6), np.random.seed(6), torch.manual_seed(6)
net = nn.Sequential(nn.Linear(9, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 9))
opt = torch.optim.Adam(net.parameters(), lr=3e-3)
sched = torch.optim.lr_scheduler.OneCycleLR(opt, max_lr=1e-2, total_steps=a.epochs * 6)
loader = DataLoader(Noisy(), batch_size=20, shuffle=True)
epoch = 0
if a.resume:
    ck = torch.load(a.resume, weights_only=False)
    net.load_state_dict(ck["net"])
    opt.load_state_dict(ck["opt"])
    sched.load_state_dict(ck["sched"])
    epoch = ck["epoch"]
    restore(ck["states"])
os.makedirs("weights", exist_ok=True)
while epoch < a.epochs:
    for noisy, clean in loader:
        loss = nn.functional.l1_loss(net(noisy), clean)
        opt.zero_grad()
        loss.backward()
        opt.step()
        sched.step()
    epoch += 1
    if not a.resume:
        torch.save({"net": net.state_dict(), "opt": opt.state_dict(), "sched": sched.state_dict(), "epoch": epoch,
                    "states": states()}, f"weights/ep{epoch}.tar")
    print(epoch, loss.item())
