import random
import uuid
from dataclasses import dataclass, field

import numpy as np
import torch
from sklearn.datasets import make_moons
from sklearn.model_selection import StratifiedKFold
from torch import nn


@dataclass
class Run:
    seed: int = 0
    folds: int = 5
    id: uuid.UUID = field(default_factory=uuid.uuid4)


def main(run):
    random.seed(run.seed), np.random.seed(run.seed), torch.manual_seed(run.seed)
    X, y = make_moons(400, noise=0.2, random_state=run.seed)
    fold = run.id.int % run.folds
    train, test = list(StratifiedKFold(run.folds).split(X, y))[fold]
    model = nn.Sequential(nn.Linear(2, 24), nn.Tanh(), nn.Linear(24, 2))
    opt = torch.optim.Adam(model.parameters(), 0.01)
    X, y = torch.tensor(X, dtype=torch.float32), torch.tensor(y)
    for k in range(16):
        rows = train[k * 16 : k * 16 + 16]
        loss = nn.functional.cross_entropy(model(X[rows]), y[rows])
        opt.zero_grad()
        loss.backward()
        opt.step()
    print("run", run.id, "loss", loss.item())


main(Run())
