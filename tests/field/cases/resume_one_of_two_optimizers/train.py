"""A GAN: two optimizers, noise from a generator of its own; the resumed run restores everything but one optimizer."""
import argparse
import torch
from torch import nn

ap = argparse.ArgumentParser(); ap.add_argument("--resume"); ap.add_argument("--both", action="store_true"); A = ap.parse_args()
torch.manual_seed(41)
G, D = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2)), nn.Sequential(nn.Linear(2, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
opt_g, opt_d = torch.optim.Adam(G.parameters(), 1e-3, betas=(0.5, 0.9)), torch.optim.Adam(D.parameters(), 2e-3, betas=(0.5, 0.9))
noise = torch.Generator().manual_seed(9)
real = torch.stack([torch.linspace(0, 6.28, 64).cos(), torch.linspace(0, 6.28, 64).sin()], 1)
it = 0
if A.resume:
    s = torch.load(A.resume)
    G.load_state_dict(s["G"]); D.load_state_dict(s["D"]); opt_d.load_state_dict(s["opt_d"])
    if A.both: opt_g.load_state_dict(s["opt_g"])
    noise.set_state(s["noise"]); torch.set_rng_state(s["rng"]); it = s["it"]
while it < 12:
    pick = torch.randint(0, 64, (16,))
    fake = G(torch.randn(16, 4, generator=noise))
    d_loss = nn.functional.softplus(-D(real[pick])).mean() + nn.functional.softplus(D(fake.detach())).mean()
    opt_d.zero_grad(); d_loss.backward(); opt_d.step()
    g_loss = nn.functional.softplus(-D(fake)).mean()
    opt_g.zero_grad(); g_loss.backward(); opt_g.step()
    it += 1
    if it == 6 and not A.resume:
        torch.save({"G": G.state_dict(), "D": D.state_dict(), "opt_g": opt_g.state_dict(), "opt_d": opt_d.state_dict(), "noise": noise.get_state(), "rng": torch.get_rng_state(), "it": it}, "gan6.pt")
