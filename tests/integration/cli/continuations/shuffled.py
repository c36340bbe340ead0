"""python train.py --epochs 4 [--ckpt DIR] [--resume FILE]"""

import argparse
import hashlib
import os

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

p = argparse.ArgumentParser()
p.add_argument("--epochs", type=int, default=4)
p.add_argument("--ckpt", default="ckpt")
p.add_argument("--resume")
p.add_argument("--seed", type=int, default=1234)
a = p.parse_args()
torch.manual_seed(a.seed)
wave = torch.linspace(0, 30, 200).sin().unfold(0, 9, 1)
loader = DataLoader(TensorDataset(wave[:, :8], wave[:, 8:]), batch_size=32, shuffle=True, drop_last=True)
net = nn.Sequential(nn.Linear(8, 32), nn.Dropout(0.1), nn.SiLU(), nn.Linear(32, 1))
opt = torch.optim.AdamW(net.parameters(), lr=2e-3)
sched = torch.optim.lr_scheduler.ExponentialLR(opt, gamma=0.9)
start = 0
if a.resume:
    state = torch.load(a.resume)
    net.load_state_dict(state["state_dict"])
    opt.load_state_dict(state["optimizer"])
    sched.load_state_dict(state["lr_scheduler"])
    start = state["epoch"] + 1
os.makedirs(a.ckpt, exist_ok=True)
for epoch in range(start, a.epochs):
    for x, y in loader:
        loss = nn.functional.mse_loss(net(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
    sched.step()
    torch.save(
        {
            "state_dict": net.state_dict(),
            "optimizer": opt.state_dict(),
            "lr_scheduler": sched.state_dict(),
            "epoch": epoch,
        },
        os.path.join(a.ckpt, f"epoch{epoch}.pt"),
    )
    print(f"epoch {epoch} loss {loss.item():.5f}")
print("weights", hashlib.sha1(b"".join(q.detach().numpy().tobytes() for q in net.parameters())).hexdigest()[:12])
