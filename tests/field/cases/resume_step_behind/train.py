"""Warm-up and decay by hand from a global step; the checkpoint holds the step before it is counted."""
import argparse, math
import torch
from torch import nn

class Schedule:
    def __init__(self, peak, warmup, total): self.peak, self.warmup, self.total = peak, warmup, total
    def __call__(self, step):
        if step < self.warmup: return self.peak * (step + 1) / self.warmup
        return self.peak * 0.5 * (1 + math.cos(math.pi * (step - self.warmup) / (self.total - self.warmup)))

ap = argparse.ArgumentParser(); ap.add_argument("--resume-path"); ap.add_argument("--total", type=int, default=24); args = ap.parse_args()
torch.manual_seed(23)
lm = nn.Sequential(nn.Embedding(40, 12), nn.Linear(12, 40))
opt = torch.optim.AdamW(lm.parameters(), lr=1e-3, weight_decay=0.1)
schedule = Schedule(8e-3, 6, args.total)
global_step = 0
if args.resume_path:
    state = torch.load(args.resume_path)
    lm.load_state_dict(state["lm"]); opt.load_state_dict(state["opt"]); torch.set_rng_state(state["rng"])
    global_step = state["global_step"]
updates = 10 if args.resume_path else 0
while updates < args.total:
    for group in opt.param_groups:
        group["lr"] = schedule(global_step)
    tokens = torch.randint(0, 40, (16, 9))
    loss = nn.functional.cross_entropy(lm(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
    opt.zero_grad(); loss.backward(); opt.step()
    updates += 1
    if updates == 10 and not args.resume_path:
        torch.save({"lm": lm.state_dict(), "opt": opt.state_dict(), "rng": torch.get_rng_state(), "global_step": global_step}, "s10.pt")
    global_step += 1
