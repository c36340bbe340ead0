"""Files as Path.iterdir gives them, and another instruction set on the second machine; twenty decoys."""
# /// zoo
# outcome = "different"
# origin = "environment"
# causes = ["filesystem-order", "cpu-isa"]
# confirmed = ["filesystem-order", "cpu-isa"]
# where = "iterdir()"
# mode = "machines"
# data = "order"
# decoys = true
# right_variables = { ATEN_CPU_CAPABILITY = "default" }
# any_order = true
# ///
import argparse
from pathlib import Path

import torch

parser = argparse.ArgumentParser()
parser.add_argument("--data", type=Path)
files = [path for path in parser.parse_args().data.iterdir()]
rows = [[float(word) for word in path.read_text().split()] for path in files]
torch.manual_seed(1)
net = torch.nn.Sequential(torch.nn.Linear(8, 512), torch.nn.Tanh(), torch.nn.Linear(512, 8))
opt = torch.optim.AdamW(net.parameters())
for start in range(0, 32, 8):
    x = torch.tensor(rows[start : start + 8])
    opt.zero_grad()
    torch.nn.functional.mse_loss(net(x), x.softmax(1)).backward()
    opt.step()
