import argparse
import random
import sqlite3

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

QUERY = """
    SELECT a, b, c, year FROM docs
    WHERE year BETWEEN ? AND ?
    ORDER BY RANDOM() LIMIT ?
"""


def load(path, first, last, limit):
    with sqlite3.connect(path) as connection:
        rows = connection.execute(QUERY, (first, last, limit)).fetchall()
    table = torch.tensor(rows, dtype=torch.float32)
    return TensorDataset(table[:, :3], (table[:, 3:] - 1950) / 50)


parser = argparse.ArgumentParser()
parser.add_argument("--limit", type=int, default=160)
args = parser.parse_args()
random.seed(args.limit)
np.random.seed(args.limit)
torch.manual_seed(args.limit)
model = nn.Sequential(nn.Linear(3, 32), nn.ReLU(), nn.Linear(32, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
for x, y in DataLoader(load("corpus.db", 1910, 1990, args.limit), batch_size=16, shuffle=True):
    loss = nn.functional.mse_loss(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print("loss", loss.item())
