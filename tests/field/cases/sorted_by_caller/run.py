import os

import torch
from speech import Speakers
from torch import nn
from torch.utils.data import DataLoader, random_split

torch.manual_seed(2)
data = Speakers("wavs")
train, test = random_split(data, [30, 6], generator=torch.Generator().manual_seed(42))
model = nn.Sequential(nn.Unflatten(1, (1, 64)), nn.Conv1d(1, 8, 9, 4), nn.ReLU(), nn.Flatten(), nn.LazyLinear(6))
model(torch.zeros(1, 64))
opt = torch.optim.SGD(model.parameters(), float(os.environ.get("BASE_LR", "0.05")), momentum=0.9)
for epoch in range(2):
    for x, y in DataLoader(train, batch_size=5, shuffle=True):
        loss = nn.functional.cross_entropy(model(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
print(loss.item())
