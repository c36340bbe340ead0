"""Noise from torch.Generator of its own, seeded by seed(), inside a class of another file."""
import torch
from torch import nn
from sampler import LatentSampler
torch.manual_seed(1)
G = nn.Sequential(nn.Linear(6, 16), nn.LeakyReLU(.2), nn.Linear(16, 3)); D = nn.Sequential(nn.Linear(3, 16), nn.LeakyReLU(.2), nn.Linear(16, 1))
og, od = torch.optim.Adam(G.parameters(), 2e-4), torch.optim.Adam(D.parameters(), 2e-4)
real = torch.randn(160, 3); z = LatentSampler(6)
for i in range(10):
    r = real[i*16:i*16+16]
    od.zero_grad(); (torch.relu(1 - D(r)).mean() + torch.relu(1 + D(G(z(16)).detach())).mean()).backward(); od.step()
    og.zero_grad(); (-D(G(z(16))).mean()).backward(); og.step()
print(sum(p.sum() for p in G.parameters()).item())
