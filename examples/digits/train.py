"""Trains torchvision's ResNet-18 on the digits that prepare.py wrote.

The program deliberately does not sort the listing of the folder. So the order in which a file system returns names decides
which picture belongs to a shuffled index. --sort switches that off.
"""

import argparse
import os
import random
from pathlib import Path

import numpy as np
import torch
import torchvision
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms


class Digits(Dataset):
    """Pictures of one folder. The file's name contains the label."""

    def __init__(self, folder: Path, sort: bool, transform: transforms.Compose) -> None:
        names = [name for name in os.listdir(folder) if name.endswith(".png")]
        if sort:
            names.sort()
        self.paths = [folder / name for name in names]
        self.transform = transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        path = self.paths[index]
        with Image.open(path) as image:
            return self.transform(image.convert("RGB")), int(path.stem.split("_")[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sort", action="store_true", help="sort the folder's listing")
    parser.add_argument("--save", type=Path, help="write the final weights here")
    options = parser.parse_args()

    random.seed(options.seed)
    np.random.seed(options.seed)
    torch.manual_seed(options.seed)

    augment = transforms.Compose(
        [
            transforms.Resize(options.size),
            transforms.RandomCrop(options.size, padding=2),
            transforms.ToTensor(),
            transforms.Normalize([0.5] * 3, [0.5] * 3),
        ]
    )
    loader = DataLoader(
        Digits(options.data / "train", options.sort, augment),
        batch_size=options.batch,
        shuffle=True,
        num_workers=options.workers,
        drop_last=True,
    )
    model = torchvision.models.resnet18(num_classes=10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    criterion = torch.nn.CrossEntropyLoss()

    step = 0
    while step < options.steps:
        for images, labels in loader:
            optimizer.zero_grad()
            loss = criterion(model(images), labels)
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
