"""A generator of its own that asks the system for its seed."""
# /// zoo
# outcome = "different"
# origin = "code"
# causes = ["unseeded-rng"]
# confirmed = ["unseeded-rng"]
# where = "secrets.randbits"
# mode = "audit"
# ///
import secrets

import torch
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

torch.manual_seed(7)
data = TensorDataset(torch.randn(40, 6), torch.randn(40, 1))
generator = torch.Generator()
generator.manual_seed(secrets.randbits(48))
loader = DataLoader(data, batch_size=8, sampler=RandomSampler(data, generator=generator))
model = torch.nn.Linear(6, 1)
opt = torch.optim.Adam(model.parameters())
for x, y in loader:
    loss = (model(x) - y).square().mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
