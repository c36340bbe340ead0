import argparse
import pathlib

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

ap = argparse.ArgumentParser()
ap.add_argument("--iterations", type=int, default=16)
ap.add_argument("--resume", default="none")
ap.add_argument("--models", type=pathlib.Path, default="models")
args = ap.parse_args()


def endless(loader):
    while True:
        yield from loader


class Regressor:
    def __init__(self):
        torch.manual_seed(50)
        self.net = nn.Sequential(nn.Linear(5, 30), nn.Sigmoid(), nn.Linear(30, 1))
        self.optimizer = torch.optim.Adagrad(self.net.parameters(), lr=0.05)
        x = torch.randn(64, 5)
        self.generator = torch.Generator().manual_seed(50)
        self.loader = DataLoader(TensorDataset(x, x.norm(dim=1, keepdim=True)), batch_size=8, shuffle=True,
                                 generator=self.generator)
        self.iteration = 0

    def state_dict(self):
        return {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict(), "iteration": self.iteration}

    def load_state_dict(self, state):
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.iteration = state["iteration"]

    def fit(self, until):
        for x, y in endless(self.loader):
            if self.iteration == 8 and args.resume == "none":
                args.models.mkdir(exist_ok=True)
                torch.save(self.state_dict(), args.models / "it8.pth")
            if self.iteration >= until:
                break
            self.optimizer.zero_grad()
            loss = (self.net(x) - y).abs().mean()
            loss.backward()
            self.optimizer.step()
            self.iteration += 1
        return loss


trainer = Regressor()
if args.resume != "none":
    trainer.load_state_dict(torch.load(args.resume))
print(trainer.fit(args.iterations).item())
