"""torch is seeded, numpy is not: the split of the data moves."""
# /// zoo
# outcome = "different"
# origin = "code"
# causes = ["unseeded-rng"]
# confirmed = ["unseeded-rng"]
# where = "np.random.permutation"
# mode = "audit"
# ///
import numpy as np
import torch
from torch.utils.data import DataLoader, Subset, TensorDataset

torch.manual_seed(42)
x = torch.randn(64, 4)
data = TensorDataset(x, x.sum(1, keepdim=True))
order = np.random.permutation(len(data))
train = Subset(data, order[:48].tolist())
model = torch.nn.Linear(4, 1)
opt = torch.optim.SGD(model.parameters(), lr=0.1)
for x, y in DataLoader(train, batch_size=8):
    loss = torch.nn.functional.mse_loss(model(x), y)
    opt.zero_grad()
    loss.backward()
    opt.step()
