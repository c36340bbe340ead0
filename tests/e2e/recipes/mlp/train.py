"""A training of seconds, torch alone, with a switch for each thing that a test wants to see go wrong."""

import argparse
import os
import random
import sys
import time
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

GATE_STEP = 5


class Numbers(Dataset):
    """One file a sample; the label is the file's number modulo 3."""

    def __init__(self, folder: Path, sort: bool, noise: bool) -> None:
        names = os.listdir(folder)
        self.paths = [folder / name for name in (sorted(names) if sort else names)]
        self.noise = noise

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        values = torch.tensor([float(word) for word in self.paths[index].read_text().split()])
        if self.noise:
            values = values + torch.rand(len(values)) / 10
        return values, int(self.paths[index].stem) % 3


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(16, 64), nn.Tanh(), nn.Dropout(0.1))
        self.head = nn.Linear(64, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--sort", action="store_true")
    parser.add_argument("--noise", action="store_true")
    parser.add_argument("--unseeded", action="store_true")
    parser.add_argument("--crash-at", type=int)
    parser.add_argument("--extra-at", type=int, help="call the head once more, without use, at this step")
    parser.add_argument("--resume", type=Path)
    parser.add_argument("--pause", type=float, default=0.0, help="seconds a step")
    parser.add_argument("--gate", type=Path, help=f"wait before step {GATE_STEP} until this file is there")
    parser.add_argument("--save", type=Path)
    parser.add_argument(
        "--by-hand",
        action="store_true",
        help="descend without torch.optim, which imports torch's compiler: half of the start",
    )
    options = parser.parse_args()

    if not options.unseeded:
        random.seed(0)
        torch.manual_seed(0)
    loader = DataLoader(
        Numbers(options.data, options.sort, options.noise), batch_size=8, shuffle=True, num_workers=options.workers
    )
    net = Net()
    optimizer = None if options.by_hand else torch.optim.Adam(net.parameters(), lr=0.01)
    step = 0
    if options.resume and options.resume.exists():
        state = torch.load(options.resume)
        net.load_state_dict(state["net"])
        print("resumed", flush=True)
    while step < options.steps:
        for x, y in loader:
            while options.gate and step == GATE_STEP and not options.gate.exists():
                time.sleep(0.05)  # the test has something to do to a run that is under way
            loss = nn.functional.cross_entropy(net(x), y)
            if step == options.extra_at:
                with torch.no_grad():
                    net.head(torch.ones(1, 64))
            net.zero_grad()
            loss.backward()
            if step == options.crash_at:
                sys.exit("planted crash")
            if optimizer:
                optimizer.step()
            else:
                with torch.no_grad():
                    for parameter in net.parameters():
                        parameter -= 0.01 * parameter.grad
            print(f"step {step} loss {loss.item():.6f}", flush=True)
            time.sleep(options.pause)
            step += 1
            if step == options.steps:
                break
    if options.resume:
        torch.save({"net": net.state_dict()}, options.resume)
    if options.save:
        torch.save(net.state_dict(), options.save)


if __name__ == "__main__":
    main()
