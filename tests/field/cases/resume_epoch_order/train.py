import argparse
import os

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler


def parse_args():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=4, help="more epochs")
    parser.add_argument("--init", default=None, help="checkpoint to go on from")
    parser.add_argument("--world-size", type=int, default=1)
    parser.add_argument("--rank", type=int, default=0)
    return parser.parse_args()


def main(args):
    torch.manual_seed(0)
    table = torch.randn(160, 7)
    dataset = TensorDataset(table[:, :6], table[:, 6:] + table[:, :6].prod(1, keepdim=True))
    sampler = DistributedSampler(dataset, num_replicas=args.world_size, rank=args.rank, shuffle=True, seed=3)
    loader = DataLoader(dataset, batch_size=20, sampler=sampler)
    model = nn.Sequential(nn.Linear(6, 24), nn.ELU(), nn.Linear(24, 1))
    optimizer = torch.optim.RMSprop(model.parameters(), lr=2e-3)
    if args.init:
        saved = torch.load(args.init)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
    os.makedirs("runs", exist_ok=True)
    for epoch in range(args.epochs):
        sampler.set_epoch(epoch)
        for features, target in loader:
            loss = nn.functional.huber_loss(model(features), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if not args.init:
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, f"runs/epoch{epoch}.pt")
        print(f"[{epoch}] {loss.item():.5f}")


if __name__ == "__main__":
    main(parse_args())
