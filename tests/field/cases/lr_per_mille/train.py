import os

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def get_dataset(n=320):
    g = torch.Generator().manual_seed(5)
    x = torch.randn(n, 3, 8, 8, generator=g)
    return TensorDataset(x, x.mean((1, 2, 3)).gt(0).long())


class Net(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.head = nn.Linear(width, 2)

    def forward(self, x):
        return self.head(torch.relu(self.norm(self.stem(x))).mean((2, 3)))


def main():
    torch.manual_seed(0)
    train = DataLoader(get_dataset(), batch_size=32, shuffle=True)
    base_lr = 50 / float(os.environ.get("WARMUP_DENOMINATOR", "1000"))
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=base_lr, momentum=0.9, weight_decay=1e-4)
    criterion = nn.CrossEntropyLoss()
    for epoch in range(2):
        for images, target in train:
            loss = criterion(model(images), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: loss {loss.item():.4f}")


if __name__ == "__main__":
    main()
