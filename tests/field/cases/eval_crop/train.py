import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Photos(Dataset):
    """Pictures with a score; training crops the centre, validation crops anywhere."""

    def __init__(self, n, seed, train):
        self.pictures = np.random.default_rng(seed).random((n, 3, 16, 16), dtype=np.float32)
        self.train = train
        self.rng = np.random.default_rng()

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, i):
        top, left = (2, 2) if self.train else self.rng.integers(0, 5, size=2)
        crop = self.pictures[i, :, top : top + 12, left : left + 12]
        return torch.from_numpy(crop.copy()), torch.tensor([self.pictures[i].mean()])


torch.manual_seed(29)
train = DataLoader(Photos(80, 1, True), batch_size=16, shuffle=True)
valid = DataLoader(Photos(32, 2, False), batch_size=16)
net = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(200, 1))
opt = torch.optim.Adam(net.parameters(), lr=1e-3)
for epoch in range(3):
    net.train()
    for x, y in train:
        opt.zero_grad()
        loss = nn.functional.mse_loss(net(x), y)
        loss.backward()
        opt.step()
    net.eval()
    with torch.no_grad():
        score = sum(nn.functional.mse_loss(net(x), y).item() for x, y in valid) / len(valid)
    print(f"epoch {epoch}: train {loss.item():.4f} valid {score:.4f}")
