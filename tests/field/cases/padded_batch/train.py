import random

import torch
from torch import nn
from torch.utils.data import DataLoader


def collate(items):
    """Sequences of different lengths in one tensor."""
    longest = max(len(sequence) for sequence, _ in items)
    batch = torch.empty(len(items), longest, items[0][0].shape[1])
    for row, (sequence, _) in zip(batch, items):
        row[: len(sequence)] = sequence
    return batch, torch.tensor([label for _, label in items])


class Scorer(nn.Module):
    def __init__(self):
        super().__init__()
        self.project = nn.Linear(6, 32)
        self.score = nn.Linear(32, 2)

    def forward(self, batch):
        return self.score(self.project(batch).clamp(-3, 3).amax(1))


random.seed(40)
torch.manual_seed(40)
data = [(torch.randn(4 + i % 9, 6), i % 2) for i in range(96)]
model = Scorer()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
for batch, labels in DataLoader(data, batch_size=12, shuffle=True, collate_fn=collate):
    loss = nn.functional.cross_entropy(model(batch), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(loss.item())
