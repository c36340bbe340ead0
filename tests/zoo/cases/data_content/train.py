"""One file of 32 has another content on the second machine."""
# /// zoo
# outcome = "different"
# origin = "environment"
# causes = ["data-content"]
# mode = "machines"
# data = "content"
# ///
import argparse
import glob

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset


class Numbers(Dataset):
    def __init__(self, folder):
        self.paths = sorted(glob.glob(f"{folder}/*.txt"))

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        values = np.loadtxt(self.paths[index], dtype=np.float32)
        return {"x": values, "y": values.sum(dtype=np.float32)}


parser = argparse.ArgumentParser()
parser.add_argument("--data", required=True)
args = parser.parse_args()
torch.manual_seed(0)
np.random.seed(0)
model = torch.nn.Linear(8, 1)
opt = torch.optim.AdamW(model.parameters())
for epoch in range(2):
    for batch in DataLoader(Numbers(args.data), batch_size=8, shuffle=True):
        loss = torch.nn.functional.l1_loss(model(batch["x"]).squeeze(), batch["y"])
        opt.zero_grad(set_to_none=True)
        loss.backward()
        opt.step()
