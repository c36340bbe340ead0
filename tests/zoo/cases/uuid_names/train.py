"""Temporary files are named by uuid and read back sorted: another order each time."""
# /// zoo
# outcome = "different"
# origin = "code"
# causes = ["unseeded-rng"]
# mode = "audit"
# ///
import tempfile
import uuid
from pathlib import Path

import torch

torch.manual_seed(0)
folder = Path(tempfile.mkdtemp())
for number in range(24):
    (folder / f"{uuid.uuid4().hex}.txt").write_text(" ".join(str(number + at) for at in range(8)))
rows = [[float(word) / 30 for word in path.read_text().split()] for path in sorted(folder.iterdir())]

model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))
opt = torch.optim.SGD(model.parameters(), lr=0.05)
for start in range(0, 24, 6):
    x = torch.tensor(rows[start : start + 6])
    loss = model(x).square().mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
