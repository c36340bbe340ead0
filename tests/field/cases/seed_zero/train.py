import argparse

import torch
from common import init_seeds
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=None)
parser.add_argument("--latent", type=int, default=4)
args = parser.parse_args()
print("seed", init_seeds(args.seed))


class VAE(nn.Module):
    def __init__(self, latent):
        super().__init__()
        self.encode = nn.Linear(18, 2 * latent)
        self.decode = nn.Sequential(nn.Linear(latent, 24), nn.ReLU(), nn.Linear(24, 18))

    def forward(self, x):
        mean, log_var = self.encode(x).chunk(2, dim=1)
        z = mean + torch.randn_like(mean) * (0.5 * log_var).exp()
        kl = -0.5 * (1 + log_var - mean**2 - log_var.exp()).sum(1).mean()
        return nn.functional.mse_loss(self.decode(z), x) + 1e-3 * kl


data = torch.arange(18 * 64).reshape(64, 18).mul(0.37).sin()
model = VAE(args.latent)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for (x,) in DataLoader(TensorDataset(data), batch_size=8, shuffle=True):
    loss = model(x)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
