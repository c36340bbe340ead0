import os

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Clips(Dataset):
    def __init__(self, root):
        self.items = [torch.load(os.path.join(root, name)) for name in sorted(os.listdir(root)) if name.endswith(".pt")]

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]["wave"].unsqueeze(0), self.items[i]["word"]


class KeywordNet(nn.Module):
    def __init__(self, words=3):
        super().__init__()
        self.conv = nn.Conv1d(1, 12, 9, stride=4)
        self.pool = nn.AdaptiveMaxPool1d(4)
        self.fc = nn.Linear(48, words)

    def forward(self, wave):
        return self.fc(self.pool(self.conv(wave).relu()).flatten(1))


torch.manual_seed(123)
data = Clips("clips")
net = KeywordNet()
opt = torch.optim.Adam(net.parameters(), lr=4e-3)
for epoch in range(4):
    for wave, word in DataLoader(data, batch_size=6, shuffle=True):
        loss = nn.functional.cross_entropy(net(wave), word)
        opt.zero_grad()
        loss.backward()
        opt.step()
    print(epoch, loss.item())
