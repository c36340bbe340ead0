"""An unsorted glob and an unseeded numpy augmentation at once."""
# /// zoo
# outcome = "different"
# origin = "environment"
# causes = ["filesystem-order", "unseeded-rng"]
# confirmed = ["filesystem-order", "unseeded-rng"]
# where = "np.random.randn"
# mode = "machines"
# data = "order"
# any_order = true
# ///
import sys
from glob import glob

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset


class Numbers(Dataset):
    def __init__(self, folder):
        self.paths = glob(folder + "/*.txt")

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        x = np.loadtxt(self.paths[index]).astype(np.float32)
        return x + 0.1 * np.random.randn(8).astype(np.float32)


torch.manual_seed(0)
model = torch.nn.Linear(8, 1)
opt = torch.optim.SGD(model.parameters(), lr=0.01)
for x in DataLoader(Numbers(sys.argv[2]), batch_size=4):
    loss = model(x).pow(2).mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
