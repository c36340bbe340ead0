"""Path.iterdir differs between the machines, but the names are sorted before use: benign."""
# /// zoo
# outcome = "identical"
# mode = "machines"
# data = "order"
# benign = "listing"
# ///
import sys
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Dataset


class Numbers(Dataset):
    def __init__(self, folder):
        names = [p for p in Path(folder).iterdir() if p.suffix == ".txt"]
        self.paths = sorted(names, key=lambda p: p.name)

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        return torch.tensor([float(v) for v in self.paths[index].read_text().split()])


torch.manual_seed(3)
model = torch.nn.Linear(8, 2)
opt = torch.optim.SGD(model.parameters(), lr=0.1)
for batch in DataLoader(Numbers(sys.argv[2]), batch_size=8, shuffle=True):
    loss = model(batch).pow(2).mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
