"""Draws images/*/img_NNN.png; with a number: one pixel of that image is one brighter."""
import pathlib
import sys

import numpy as np
from PIL import Image

for i in range(48):
    yy, xx = np.mgrid[:12, :12]
    picture = (40 + 5 * yy + 3 * xx * (i % 3) + i) % 200
    if sys.argv[1:] == [str(i)]:
        picture[6, 7] += 1
    folder = pathlib.Path("images", "ab"[i % 3 > 0])
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture.astype(np.uint8)).save(folder / f"img_{i:03d}.png", compress_level=0)
