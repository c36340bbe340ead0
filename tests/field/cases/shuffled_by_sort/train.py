import pathlib

import torch
from lists import training_list
from torch import nn

torch.manual_seed(0)
torch.use_deterministic_algorithms(True)


class Recognizer(nn.Module):
    def __init__(self, symbols=29, hidden=20):
        super().__init__()
        self.embed = nn.Embedding(symbols, hidden)
        self.lstm = nn.LSTM(hidden, hidden, batch_first=True)
        self.out = nn.Linear(hidden, symbols)

    def forward(self, line):
        return self.out(self.lstm(self.embed(line))[0])


def read(path):
    return torch.tensor([int(word) for word in pathlib.Path(path).read_text().split()])


net = Recognizer()
optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
files = training_list()
for at in range(0, len(files), 6):
    lines = torch.stack([read(path) for path in files[at : at + 6]])
    loss = nn.functional.cross_entropy(net(lines[:, :-1]).flatten(0, 1), lines[:, 1:].flatten())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(at, loss.item())
