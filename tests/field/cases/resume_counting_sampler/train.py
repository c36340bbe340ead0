"""A sampler of our own that shuffles by seed and epoch and counts its epochs itself."""
import argparse
import random
import torch
from torch import nn
from torch.utils.data import DataLoader, Sampler, TensorDataset

class EpochShuffle(Sampler):
    def __init__(self, n, seed):
        self.n, self.seed, self.rounds = n, seed, 0
    def __len__(self): return self.n
    def __iter__(self):
        order = list(range(self.n)); random.Random(self.seed * 1000 + self.rounds).shuffle(order)
        self.rounds += 1
        return iter(order)

a = argparse.ArgumentParser(); a.add_argument("--load"); a.add_argument("--name", default="run"); a = a.parse_args()
torch.manual_seed(12)
x = torch.randn(90, 6)
data = TensorDataset(x, (x ** 2).mean(1, keepdim=True))
loader = DataLoader(data, batch_size=15, sampler=EpochShuffle(len(data), 7))
net = nn.Sequential(nn.Linear(6, 18), nn.ReLU(), nn.Linear(18, 1))
opt = torch.optim.Adam(net.parameters(), lr=0.01)
done = 0
if a.load:
    s = torch.load(a.load); net.load_state_dict(s["w"]); opt.load_state_dict(s["o"]); torch.set_rng_state(s["r"]); done = s["done"]
for epoch in range(done, 4):
    for b, t in loader:
        l = nn.functional.mse_loss(net(b), t); opt.zero_grad(); l.backward(); opt.step()
    torch.save({"w": net.state_dict(), "o": opt.state_dict(), "r": torch.get_rng_state(), "done": epoch + 1}, f"{a.name}{epoch}.pt")
    print(l.item())
