import argparse
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

p = argparse.ArgumentParser(); p.add_argument("--resume"); p.add_argument("--accum", type=int, default=4); p.add_argument("--save-at", type=int, default=18)
a = p.parse_args()
torch.manual_seed(15)
x = torch.randn(192, 6)
loader = DataLoader(TensorDataset(x, x.sin()), batch_size=4)     # in order
model = nn.Sequential(nn.Linear(6, 30), nn.GELU(), nn.Linear(30, 6))
opt = torch.optim.AdamW(model.parameters(), lr=5e-3)
seen = 0
if a.resume:
    c = torch.load(a.resume); model.load_state_dict(c["model"]); opt.load_state_dict(c["opt"]); seen = c["seen"]; torch.set_rng_state(c["rng"])
micro = 0                                   # counts from 0 again
for i, (b, t) in enumerate(loader):
    if i < seen:
        continue
    (nn.functional.mse_loss(model(b), t) / a.accum).backward()
    micro += 1
    if micro % a.accum == 0:
        opt.step(); opt.zero_grad()
    if i + 1 == a.save_at and not a.resume:
        torch.save({"model": model.state_dict(), "opt": opt.state_dict(), "seen": i + 1, "rng": torch.get_rng_state()}, "mid.pt")
