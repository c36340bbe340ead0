# ruff: noqa -- a program as users write it, not ours
"""Transforms of torchvision, old and new, in a loader and in the open; prints what a training would use.

python transforms.py WORKERS FOLDER         FOLDER: class folders with PNG images
"""

import random
import sys

import torch
from torch.utils.data import DataLoader
from torchvision import datasets, tv_tensors
from torchvision import transforms as v1
from torchvision.transforms import v2


class Jolt:
    """A transform of the user's own, from the generator of `random`."""

    def __call__(self, image):
        return image.rotate(random.randrange(4) * 90)


def half(target):
    return target / 2


def old():
    return v1.Compose(
        [
            v1.Resize(12),
            v1.Compose([v1.RandomCrop(10), v1.RandomHorizontalFlip()]),
            v1.RandomApply([v1.ColorJitter(0.2), v1.Compose([v1.Grayscale(3)])], p=0.5),
            v1.RandomChoice([v1.CenterCrop(8), v1.RandomCrop(8)]),
            Jolt(),
            v1.ToTensor(),
            v1.Lambda(lambda x: x * 2),
            lambda x: x - 1,
        ]
    )


def new():
    return v2.Compose(
        [
            v2.ToImage(),
            v2.Compose([v2.RandomCrop(10), v2.RandomHorizontalFlip()]),
            v2.RandomApply([v2.ColorJitter(0.2)], p=0.5),
            v2.RandomChoice([v2.CenterCrop(8), v2.RandomCrop(8)]),
            v2.ToDtype(torch.float32, scale=True),
        ]
    )


class Boxes(datasets.ImageFolder):
    """Dictionaries through new transforms, and a transform that is called alone."""

    def __getitem__(self, index):
        image, label = super().__getitem__(index)
        box = tv_tensors.BoundingBoxes([[0, 0, 4, 4]], format="XYXY", canvas_size=image.size[::-1])
        sample = {"image": image, "box": box, "label": label}
        sample = v2.Compose([v2.ToImage(), v2.RandomCrop(8), v2.RandomHorizontalFlip()])(sample)
        sample["image"] = v2.GaussianBlur(3)(sample["image"])
        return sample


def total(batches):
    return [[item.double().sum().item() for item in (b.values() if isinstance(b, dict) else b)] for b in batches]


def main():
    workers, folder = int(sys.argv[1]), sys.argv[2]
    torch.manual_seed(5)
    random.seed(5)
    recorder = sys.modules.get("detctl_probe.recording.recorder")
    scenes = [
        lambda: DataLoader(datasets.ImageFolder(folder, old(), half), 4, shuffle=True, num_workers=workers),
        lambda: DataLoader(datasets.ImageFolder(folder, new()), 4, shuffle=True, num_workers=workers),
        lambda: DataLoader(Boxes(folder), 4, num_workers=workers),
        lambda: DataLoader(datasets.ImageFolder(folder, v1.ToTensor()), 4, num_workers=workers),
        lambda: [[torch.as_tensor(old()(image)) for image, _ in datasets.ImageFolder(folder)]],
    ]
    for scene in scenes:
        print(total(scene()), torch.rand(1).item(), random.random())
        if recorder is not None:
            recorder.recorder().end_step()
    scripted = torch.jit.script(torch.nn.Sequential(v1.CenterCrop(4), v1.Normalize((0.5,), (0.5,))))
    print(
        scripted(torch.ones(1, 8, 8)).sum().item(),
        torch.compile(v2.CenterCrop(4), backend="eager")(torch.ones(1, 8, 8)).sum(),
    )


if __name__ == "__main__":
    main()
