import json
import subprocess

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Reviews(Dataset):
    def __init__(self, root):
        # os.listdir took minutes on the cluster
        proc = subprocess.Popen(["find", root, "-name", "*.json"], stdout=subprocess.PIPE, text=True)
        self.paths = [line.rstrip("\n") for line in proc.stdout]
        proc.wait()

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, i):
        with open(self.paths[i]) as f:
            r = json.load(f)
        return torch.tensor(r["tokens"]), r["stars"]


torch.manual_seed(1)
model = nn.Sequential(nn.EmbeddingBag(50, 16), nn.ReLU(), nn.Linear(16, 5))
opt = torch.optim.Adam(model.parameters(), 1e-2)
for tokens, stars in DataLoader(Reviews("reviews"), batch_size=6):
    loss = nn.functional.cross_entropy(model(tokens), stars)
    opt.zero_grad()
    loss.backward()
    opt.step()
print(loss.item())
