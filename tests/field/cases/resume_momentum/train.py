"""Recurrent attention, very small. Saves step10.pth on its way."""
import argparse

import torch
import torch.nn.functional as F
from torch import nn


def build_parser():
    p = argparse.ArgumentParser()
    p.add_argument("--steps", type=int, default=20)
    p.add_argument("--restart", metavar="CKPT")
    p.add_argument("--save-at", type=int, default=10)
    return p


class Glimpse(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(16, 24)
        self.classify = nn.Linear(24, 3)

    def forward(self, pixels):
        h = pixels.new_zeros(len(pixels), 24)
        for row in pixels.split(16, dim=1):
            h = self.cell(row, h)
        return self.classify(h)


def sample(size=24):
    x = torch.rand(size, 64)
    return x, (x[:, :21].sum(1) * 0.28).long().clamp(0, 2)


if __name__ == "__main__":
    args = build_parser().parse_args()
    torch.manual_seed(99)
    net = Glimpse()
    sgd = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.95)
    first = 0
    if args.restart:
        ckpt = torch.load(args.restart)
        net.load_state_dict(ckpt["net"])
        torch.set_rng_state(ckpt["rng"])
        first = ckpt["step"]
    for step in range(first, args.steps):
        if step == args.save_at and not args.restart:
            torch.save({"net": net.state_dict(), "rng": torch.get_rng_state(), "step": step}, f"step{step}.pth")
        x, y = sample()
        loss = F.cross_entropy(net(x), y)
        sgd.zero_grad()
        loss.backward()
        sgd.step()
    print("final loss", loss.item())
