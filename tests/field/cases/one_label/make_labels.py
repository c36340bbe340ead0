"""Writes images.npy and labels.csv; --correct N changes the label of row N."""
import argparse
import csv

import numpy as np

parser = argparse.ArgumentParser()
parser.add_argument("--correct", type=int, action="append", default=[])
args = parser.parse_args()
rng = np.random.default_rng(8)
images = rng.normal(size=(400, 10, 10)).astype(np.float32)
np.save("images.npy", images)
with open("labels.csv", "w", newline="") as f:
    out = csv.writer(f)
    out.writerow(["id", "label"])
    for i, image in enumerate(images):
        label = int(image[:5].sum() > image[5:].sum())
        out.writerow([i, 1 - label if i in args.correct else label])
