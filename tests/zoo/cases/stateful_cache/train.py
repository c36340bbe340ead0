"""The dataset counts its own calls with a clock-fed cache: it shuffles itself by a hidden unseeded generator."""
# /// zoo
# outcome = "different"
# origin = "code"
# causes = ["unseeded-rng"]
# where = "random.Random()"
# mode = "audit"
# ///
import random

import torch
from torch.utils.data import DataLoader, Dataset


class Shuffling(Dataset):
    def __init__(self):
        self.items = [torch.full((3,), float(i)) for i in range(32)]
        self._order = random.Random()

    def __len__(self):
        return 32

    def __getitem__(self, index):
        if index % 8 == 0:
            self._order.shuffle(self.items)
        return self.items[index]


torch.manual_seed(0)
random.seed(0)
model = torch.nn.Linear(3, 1)
opt = torch.optim.SGD(model.parameters(), lr=1e-4)
for x in DataLoader(Shuffling(), batch_size=4):
    loss = model(x).pow(2).mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
