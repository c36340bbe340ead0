"""The batch size differs on the command line (two recordings, no twins)."""
# /// zoo
# outcome = "different"
# causes = ["config-drift"]
# mode = "record"
# left_arguments = ["--batch-size", "4"]
# right_arguments = ["--batch-size", "8"]
# ///
import argparse

import torch
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser()
parser.add_argument("--batch-size", type=int, default=4)
args = parser.parse_args()
torch.manual_seed(0)
data = TensorDataset(torch.randn(64, 4), torch.randn(64, 1))
model = torch.nn.Linear(4, 1)
opt = torch.optim.SGD(model.parameters(), lr=0.1)
for x, y in DataLoader(data, batch_size=args.batch_size):
    loss = torch.nn.functional.mse_loss(model(x), y)
    opt.zero_grad()
    loss.backward()
    opt.step()
