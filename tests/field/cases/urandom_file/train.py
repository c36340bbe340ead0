import json

import numpy as np
import torch
from sampling import NegativeSampler
from torch import nn

CONFIG = json.loads('{"items": 60, "users": 40, "dim": 12, "lr": 0.05, "seed": 9, "random_state": null}')


class BPR(nn.Module):
    def __init__(self, users, items, dim):
        super().__init__()
        self.user = nn.Embedding(users, dim)
        self.item = nn.Embedding(items, dim)

    def forward(self, u, i):
        return (self.user(u) * self.item(i)).sum(-1)


np.random.seed(CONFIG["seed"])
torch.manual_seed(CONFIG["seed"])
sampler = NegativeSampler(CONFIG["items"], CONFIG["random_state"])
model = BPR(CONFIG["users"], CONFIG["items"], CONFIG["dim"])
optimizer = torch.optim.Adam(model.parameters(), lr=CONFIG["lr"])
for step in range(14):
    users = np.arange(step * 16, step * 16 + 16) % CONFIG["users"]
    liked = users * 3 % CONFIG["items"]
    other = sampler.draw(liked)
    u, i, j = (torch.from_numpy(a) for a in (users, liked, other))
    loss = -nn.functional.logsigmoid(model(u, i) - model(u, j)).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print(loss.item())
