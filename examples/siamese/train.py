"""Trains a small siamese network on pairs of digits (../digits/prepare.py writes the pictures).

It combines three problems that occur in practice: the configuration has `transform_type: auto`, an external dataset keeps
a generator of its own, and this dataset does not sort the listing of its folder.
"""

import argparse
import random
from pathlib import Path

import numpy as np
import torch
import yaml
from pairs import PairDataset
from torch import nn
from torch.utils.data import DataLoader
from torchvision.transforms import v2


def make_transform(kind: str) -> v2.Compose:
    """`pil` resizes the picture, `tensor` resizes the tensor; `auto` takes the faster one on this machine."""
    if kind == "auto":
        kind = "tensor" if torch.get_num_threads() > 1 else "pil"
    to_tensor = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
    resize = [v2.Resize((16, 16), antialias=True)]
    return v2.Compose(to_tensor + resize if kind == "tensor" else resize + to_tensor)


class Siamese(nn.Module):
    """One tower for both pictures; the distance of the two embeddings decides."""

    def __init__(self) -> None:
        super().__init__()
        self.tower = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 64, 16)
        )
        self.head = nn.Linear(1, 1)

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        distance = (self.tower(left) - self.tower(right)).pow(2).sum(1, keepdim=True)
        return self.head(distance).squeeze(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--config", type=Path, default=Path(__file__).with_name("config.yaml"))
    parser.add_argument("--transform-type", choices=["auto", "pil", "tensor"], help="instead of the configuration's")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", type=Path, help="write the final weights here")
    options = parser.parse_args()
    config = yaml.safe_load(options.config.read_text())

    random.seed(options.seed)
    np.random.seed(options.seed)
    torch.manual_seed(options.seed)

    transform = make_transform(options.transform_type or config["transform_type"])
    dataset = PairDataset(options.data / "train", config["pairs"], transform)
    loader = DataLoader(dataset, batch_size=config["batch"], shuffle=True, num_workers=options.workers)
    model = Siamese()
    optimizer = torch.optim.Adam(model.parameters(), lr=config["learning_rate"])
    criterion = nn.BCEWithLogitsLoss()
    step = 0
    while step < options.steps:
        for left, right, same in loader:
            optimizer.zero_grad()
            loss = criterion(model(left, right), same.float())
            loss.backward()
            optimizer.step()
            print(f"step {step} loss {loss.item():.6f}", flush=True)
            step += 1
            if step == options.steps:
                break
    if options.save:
        torch.save(model.state_dict(), options.save)


if __name__ == "__main__":
    main()
