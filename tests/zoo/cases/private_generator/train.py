"""A torch.Generator of its own, seeded by .seed(), feeds the sampler."""
# /// zoo
# outcome = "different"
# origin = "code"
# causes = ["unseeded-rng"]
# mode = "audit"
# ///
import torch
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

torch.manual_seed(0)
g = torch.Generator()
g.seed()
data = TensorDataset(torch.randn(40, 4))
model = torch.nn.Linear(4, 1)
opt = torch.optim.SGD(model.parameters(), lr=0.1)
for (x,) in DataLoader(data, batch_size=4, sampler=RandomSampler(data, generator=g)):
    loss = model(x).pow(2).mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
