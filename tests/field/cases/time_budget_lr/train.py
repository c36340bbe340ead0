"""Trains as well as it can within a budget of seconds."""
import argparse
import time

import torch
from torch import nn


class BudgetSchedule:
    """Falls from the base rate to zero while the budget is used up."""

    def __init__(self, optimizer, budget):
        self.optimizer, self.budget = optimizer, budget
        self.start = time.perf_counter()
        self.base = [group["lr"] for group in optimizer.param_groups]

    def step(self):
        spent = time.perf_counter() - self.start
        for group, base in zip(self.optimizer.param_groups, self.base):
            group["lr"] = base * max(0.0, 1 - spent / self.budget)


def batches(n):
    for i in range(n):
        g = torch.Generator().manual_seed(i)
        x = torch.randint(0, 40, (12, 10), generator=g)
        yield x, (x.sum(1) % 4)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--budget", type=float, default=30.0)
    parser.add_argument("--steps", type=int, default=16)
    args = parser.parse_args()
    torch.manual_seed(1)
    model = nn.Sequential(nn.EmbeddingBag(40, 24), nn.ReLU(), nn.Linear(24, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    schedule = BudgetSchedule(optimizer, args.budget)
    for x, y in batches(args.steps):
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        schedule.step()
        optimizer.step()
    print("loss", loss.item(), "lr", optimizer.param_groups[0]["lr"])


main()
