import csv

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset


class LabelledImages(Dataset):
    def __init__(self, images="images.npy", labels="labels.csv"):
        self.images = np.load(images)
        with open(labels, newline="") as f:
            self.labels = [int(row["label"]) for row in csv.DictReader(f)]

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return torch.from_numpy(self.images[i]), self.labels[i]


class Trainer:
    def __init__(self, model, loader, lr=0.05):
        self.model, self.loader = model, loader
        self.optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)

    def fit(self, epochs):
        for epoch in range(epochs):
            total = 0.0
            for images, labels in self.loader:
                loss = F.cross_entropy(self.model(images), labels)
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                total += loss.item()
            print(epoch, total / len(self.loader))


torch.manual_seed(1)
np.random.seed(1)
loader = DataLoader(LabelledImages(), batch_size=100, shuffle=True)
model = nn.Sequential(nn.Flatten(), nn.Linear(100, 32), nn.Tanh(), nn.Linear(32, 2))
Trainer(model, loader).fit(2)
