"""Class names go through a set; the label of each class depends on hash order."""
# /// zoo
# outcome = "different"
# origin = "code"
# causes = ["hash-order"]
# confirmed = ["hash-order"]
# mode = "audit"
# ///
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

NAMES = ["cat", "dog", "cow", "hen", "fox", "owl", "bee", "ant"]


class Animals(Dataset):
    def __init__(self):
        self.classes = list(set(NAMES))
        self.label = {name: i for i, name in enumerate(self.classes)}
        self.items = [(name, k) for name in NAMES for k in range(4)]

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        name, k = self.items[index]
        x = torch.tensor([float(ord(c)) / 128 for c in name] + [k / 4])
        return x, self.label[name]


torch.manual_seed(0)
model = nn.Linear(4, len(NAMES))
opt = torch.optim.SGD(model.parameters(), lr=0.1)
for x, y in DataLoader(Animals(), batch_size=8, shuffle=True):
    loss = nn.functional.cross_entropy(model(x), y)
    opt.zero_grad()
    loss.backward()
    opt.step()
