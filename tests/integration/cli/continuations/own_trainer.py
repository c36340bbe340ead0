"""A Trainer class without DataLoader: batches come from a private numpy generator, SGD with momentum; only weights are saved."""

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv1d(1, 4, 3)
        self.bn = torch.nn.BatchNorm1d(4)
        self.head = torch.nn.Linear(4 * 14, 2)

    def forward(self, x):
        return self.head(F.relu(self.bn(self.conv(x))).flatten(1))


class Trainer:
    def __init__(self, args):
        self.args = args
        self.rng = np.random.default_rng(args.seed)
        torch.manual_seed(args.seed)
        self.net = Net()
        self.opt = torch.optim.SGD(self.net.parameters(), lr=0.05, momentum=0.9)
        data = np.random.RandomState(7).randn(64, 1, 16).astype("float32")
        self.x = torch.from_numpy(data)
        self.y = (self.x.sum((1, 2)) > 0).long()
        self.done = 0

    def load(self, path):
        blob = torch.load(path, weights_only=True)
        self.net.load_state_dict(blob["model"])
        if self.args.keep_momentum:
            self.opt.load_state_dict(blob["opt"])
        if self.args.keep_rng:
            self.rng.bit_generator.state = blob["rng"]
        self.done = blob["iteration"]

    def save(self, path):
        blob = {"model": self.net.state_dict(), "opt": self.opt.state_dict(), "iteration": self.done}
        torch.save({**blob, "rng": self.rng.bit_generator.state}, path)

    def fit(self):
        while self.done < self.args.iterations:
            pick = torch.from_numpy(self.rng.integers(0, 64, 8))
            loss = F.cross_entropy(self.net(self.x[pick]), self.y[pick])
            self.opt.zero_grad()
            loss.backward()
            self.opt.step()
            self.done += 1
            if self.done % 5 == 0:
                self.save(Path(self.args.out) / f"it{self.done:03d}.pth")


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("--iterations", type=int, default=15)
    p.add_argument("--seed", type=int, default=3)
    p.add_argument("--out", default="runs")
    p.add_argument("--load")
    p.add_argument("--keep-momentum", action="store_true")
    p.add_argument("--keep-rng", action="store_true")
    args = p.parse_args()
    Path(args.out).mkdir(exist_ok=True)
    trainer = Trainer(args)
    if args.load:
        trainer.load(args.load)
    trainer.fit()
