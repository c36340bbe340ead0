"""An "external" dataset, as they exist in practice: it samples its pairs with its own generator, which nobody seeds."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image
from torch.utils.data import Dataset


class PairDataset(Dataset):
    """Pairs of pictures and whether they show the same digit. Every access draws a new partner."""

    def __init__(self, folder: Path, pairs: int, transform: Callable[[Any], Any]) -> None:
        self.paths = [path for path in folder.iterdir() if path.suffix == ".png"]
        self.pairs = pairs
        self.transform = transform
        self.generator = random.Random()

    def __len__(self) -> int:
        return self.pairs

    def __getitem__(self, index: int) -> tuple[Any, Any, float]:
        left = self.paths[index % len(self.paths)]
        right = self.generator.choice(self.paths)
        same = left.stem.split("_")[1] == right.stem.split("_")[1]
        return self._read(left), self._read(right), float(same)

    def _read(self, path: Path) -> Any:
        with Image.open(path) as image:
            return self.transform(image.convert("L"))
