"""Continual learning: the loss pulls the weights to a slow copy (a dict of tensors), which no checkpoint holds."""
import argparse
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser()
parser.add_argument("--continue_from")
args = parser.parse_args()
torch.manual_seed(3)
inputs = torch.randn(120, 7)
labels = inputs.prod(1).sign().long().clamp(min=0)
net = nn.Sequential(nn.Linear(7, 24), nn.ReLU(), nn.Linear(24, 2))
opt = torch.optim.Adam(net.parameters(), lr=4e-3)
slow = {k: v.detach().clone() for k, v in net.named_parameters()}
start = 0
if args.continue_from:
    s = torch.load(args.continue_from)
    net.load_state_dict(s["net"]); opt.load_state_dict(s["opt"]); torch.set_rng_state(s["torch_rng"])
    start = s["epoch"]
    slow = {k: v.detach().clone() for k, v in net.named_parameters()}
for epoch in range(start, 4):
    if epoch and not args.continue_from:
        torch.save({"net": net.state_dict(), "opt": opt.state_dict(), "torch_rng": torch.get_rng_state(), "epoch": epoch}, f"e{epoch}.pt")
    for x, y in DataLoader(TensorDataset(inputs, labels), 24, shuffle=True):
        loss = nn.functional.cross_entropy(net(x), y)
        for k, v in net.named_parameters():
            loss = loss + 0.1 * (v - slow[k]).pow(2).sum()
        opt.zero_grad(); loss.backward(); opt.step()
        for k, v in net.named_parameters():
            slow[k].lerp_(v.detach(), 0.05)
    print(epoch, loss.item())
