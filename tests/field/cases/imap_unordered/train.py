import multiprocessing
import random

import numpy as np
import torch
from featurize import molecule
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def build(count, processes):
    xs, ys = [], []
    with multiprocessing.Pool(processes) as pool:
        for features, label in pool.imap_unordered(molecule, range(count)):
            xs.append(features)
            ys.append([label])
    return TensorDataset(torch.tensor(xs), torch.tensor(ys))


def main():
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    dataset = build(96, processes=3)
    model = nn.Sequential(nn.Linear(10, 32), nn.Softplus(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for epoch in range(2):
        for x, y in DataLoader(dataset, batch_size=12, shuffle=True):
            loss = nn.functional.mse_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(epoch, loss.item())


if __name__ == "__main__":
    main()
