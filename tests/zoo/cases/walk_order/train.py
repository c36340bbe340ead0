"""os.walk and os.scandir in a helper, no DataLoader at all: batches are sliced from one tensor by hand."""
# /// zoo
# outcome = "different"
# origin = "environment"
# causes = ["filesystem-order"]
# confirmed = ["filesystem-order"]
# where = "in os.walk(root)"
# mode = "machines"
# data = "order"
# ///
import os
import sys

import torch


def read_all(root):
    rows = []
    for folder, _, files in os.walk(root):
        for name in files:
            with open(os.path.join(folder, name)) as stream:
                rows.append([float(v) for v in stream.read().split()])
    return torch.tensor(rows)


def main():
    torch.manual_seed(1)
    data = read_all(sys.argv[2])
    net = torch.nn.Linear(8, 1)
    opt = torch.optim.Adam(net.parameters(), lr=1e-2)
    for step in range(8):
        chunk = data[step * 4 : step * 4 + 4]
        out = net(chunk)
        loss = ((out.squeeze() - chunk.mean(1)) ** 2).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()


main()
