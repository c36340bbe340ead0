"""A sampler that shuffles by epoch, a schedule by steps, and a resumed training that restores what `--restore` names."""

from __future__ import annotations

import argparse

import torch
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler


def main(options: argparse.Namespace) -> None:
    torch.manual_seed(options.seed)
    features = torch.linspace(-1, 1, 120).view(40, 3)
    data = TensorDataset(features, features.sum(1) ** 2)
    sampler: DistributedSampler[tuple[torch.Tensor, ...]] = DistributedSampler(data, num_replicas=1, rank=0, seed=4)
    loader = DataLoader(data, batch_size=8, sampler=sampler)
    network = torch.nn.Sequential(torch.nn.Linear(3, 12), torch.nn.GELU(), torch.nn.Linear(12, 1))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.9**step)
    epoch = 0
    if options.snapshot:
        content = torch.load(options.snapshot, weights_only=True)
        network.load_state_dict(content["network"])
        optimizer.load_state_dict(content["optimizer"])
        if "schedule" in options.restore:
            schedule.load_state_dict(content["schedule"])
        if "epoch" in options.restore:
            epoch = content["epoch"] + 1
    for number in range(epoch, epoch + options.more):
        sampler.set_epoch(number)
        for inputs, target in loader:
            loss = torch.nn.functional.huber_loss(network(inputs).squeeze(1), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        state = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "epoch": number}
        torch.save({**state, "schedule": schedule.state_dict()}, f"{options.prefix}{number}.pt")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--more", type=int, default=3)
    parser.add_argument("--snapshot")
    parser.add_argument("--restore", nargs="*", default=["schedule", "epoch"])
    parser.add_argument("--prefix", default="epoch")
    main(parser.parse_args())
