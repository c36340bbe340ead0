"""Writes scikit-learn's 1,797 handwritten digits as PNG files: python prepare.py FOLDER

FOLDER/train/00042_7.png is picture 42, a seven, 8 x 8 grey pixels. Existing pictures are kept.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    train = parser.parse_args().folder / "train"
    train.mkdir(parents=True, exist_ok=True)
    digits = load_digits()
    for number, (image, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        path = train / f"{number:05d}_{label}.png"
        if not path.exists():
            Image.fromarray((image * 255 / 16).round().astype(np.uint8)).save(path)
    print(f"{len(digits.images)} pictures in {train}")


if __name__ == "__main__":
    main()
