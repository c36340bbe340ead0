import argparse
import pathlib

import torch

p = argparse.ArgumentParser()
p.add_argument("--lose", type=int)
a = p.parse_args()
root = pathlib.Path("clips")
root.mkdir(exist_ok=True)
for i in range(30):
    path = root / f"clip_{i:02d}.pt"
    t = torch.linspace(0, 6, 80)
    torch.save({"wave": torch.sin(t * (1 + i % 3)) + 0.01 * i, "word": i % 3}, path)
    if i == a.lose:
        path.unlink()
