import argparse

import torch
from torch import nn

ap = argparse.ArgumentParser()
ap.add_argument("--iters", type=int, default=24)
ap.add_argument("--checkpoint")
ap.add_argument("--every", type=int, default=12)
args = ap.parse_args()

torch.manual_seed(4)
net = nn.Sequential(nn.Linear(32, 48), nn.ReLU(), nn.Linear(48, 1))
opt = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9)
scaler = torch.amp.GradScaler("cpu", init_scale=256.0, growth_interval=3)
it = 0
if args.checkpoint:
    c = torch.load(args.checkpoint)
    net.load_state_dict(c["net"])
    opt.load_state_dict(c["opt"])
    torch.set_rng_state(c["rng"])
    it = c["it"]
while it < args.iters:
    if it == args.every and not args.checkpoint:
        torch.save({"net": net.state_dict(), "opt": opt.state_dict(), "rng": torch.get_rng_state(), "it": it}, f"amp_{it}.pt")
    x = torch.randn(16, 32)
    y = x.abs().sum(1, keepdim=True)
    with torch.autocast("cpu", dtype=torch.float16):
        out = net(x)
        loss = nn.functional.mse_loss(out.float(), y)
    opt.zero_grad()
    scaler.scale(loss).backward()
    scaler.step(opt)
    scaler.update()
    it += 1
    print(it, loss.item(), scaler.get_scale())
