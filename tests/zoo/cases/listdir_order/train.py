"""Image-folder style: os.listdir feeds the dataset unsorted; the two machines keep the files in another order."""
# /// zoo
# outcome = "different"
# origin = "environment"
# causes = ["filesystem-order"]
# confirmed = ["filesystem-order"]
# where = "os.listdir(folder)"
# mode = "machines"
# data = "order"
# ///
import argparse
import os

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Numbers(Dataset):
    def __init__(self, folder):
        self.paths = [os.path.join(folder, n) for n in os.listdir(folder)]

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        with open(self.paths[index]) as stream:
            x = torch.tensor([float(v) for v in stream.read().split()])
        return x, x.sum()


parser = argparse.ArgumentParser()
parser.add_argument("--data")
args = parser.parse_args()
torch.manual_seed(0)
loader = DataLoader(Numbers(args.data), batch_size=4, shuffle=True)
model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for x, y in loader:
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(model(x).squeeze(1), y)
    loss.backward()
    optimizer.step()
