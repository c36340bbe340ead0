"""A sample is chosen by uuid4 and os.urandom, which no seed reaches."""
# /// zoo
# outcome = "different"
# origin = "code"
# causes = ["unseeded-rng"]
# confirmed = ["unseeded-rng"]
# where = "uuid.uuid4()"
# mode = "audit"
# ///
import uuid

import torch
from torch.utils.data import DataLoader, Dataset


class Picks(Dataset):
    def __init__(self):
        self.pool = torch.linspace(0, 1, 1000)

    def __len__(self):
        return 24

    def __getitem__(self, index):
        pick = uuid.uuid4().int % 900
        return self.pool[pick : pick + 4]


torch.manual_seed(0)
model = torch.nn.Linear(4, 1)
opt = torch.optim.SGD(model.parameters(), lr=0.1)
for x in DataLoader(Picks(), batch_size=4):
    loss = model(x).pow(2).mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
