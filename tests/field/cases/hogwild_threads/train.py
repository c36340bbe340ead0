"""Lock-free SGD: workers share the model and update it whenever they have a gradient."""
import argparse
import threading
import time

import torch
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--workers", type=int, default=2)
parser.add_argument("--steps", type=int, default=12)
parser.add_argument("--lr", type=float, default=0.05)
parser.add_argument("--seed", type=int, default=3)
args = parser.parse_args()

torch.manual_seed(args.seed)
inputs = torch.randn(args.workers, args.steps, 16, 20)
targets = inputs.pow(2).mean(-1, keepdim=True)
model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 1))


def decode(x, milliseconds):
    time.sleep(milliseconds / 1000)  # stands for an image that is read and decoded
    return x


def worker(rank):
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)
    for step in range(args.steps):
        x = decode(inputs[rank, step], (step * 7 + rank * 3) % 5)
        loss = nn.functional.mse_loss(model(x), targets[rank, step])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


threads = [threading.Thread(target=worker, args=(rank,)) for rank in range(args.workers)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("norm", sum(p.norm().item() for p in model.parameters()))
