"""Every machine seeds with its own name: twins agree, machines do not."""
# /// zoo
# outcome = "different"
# origin = "code"
# causes = ["identity-seed"]
# where = "torch.manual_seed(seed)"
# mode = "machines"
# left_variables = { NODE_NAME = "gpu1" }
# right_variables = { NODE_NAME = "gpu2" }
# ///
import os
import zlib

import torch
from torch.utils.data import DataLoader, TensorDataset

seed = zlib.crc32(os.environ.get("NODE_NAME", os.uname().nodename).encode()) % 2**31
torch.manual_seed(seed)
model = torch.nn.Linear(4, 1)
data = TensorDataset(torch.ones(32, 4), torch.ones(32, 1))
opt = torch.optim.SGD(model.parameters(), lr=0.1)
for x, y in DataLoader(data, batch_size=4, shuffle=True):
    loss = (model(x) - y).abs().mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
