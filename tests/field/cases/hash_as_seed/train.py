import argparse

import torch
from torch import nn


def seed_for(experiment, fold):
    return abs(hash(f"{experiment}/{fold}")) % (2**31)


def train(args):
    torch.manual_seed(seed_for(args.experiment, args.fold))
    net = nn.Sequential(nn.Linear(12, 24), nn.ReLU(), nn.Dropout(0.2), nn.Linear(24, 3))
    opt = torch.optim.Adam(net.parameters(), lr=args.lr)
    for step in range(10):
        x = torch.randn(16, 12)
        loss = nn.functional.cross_entropy(net(x), x.argmax(1) % 3)
        opt.zero_grad()
        loss.backward()
        opt.step()
    print(loss.item())


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--experiment", default="baseline-v2")
    ap.add_argument("--fold", type=int, default=0)
    ap.add_argument("--lr", type=float, default=1e-3)
    train(ap.parse_args())
