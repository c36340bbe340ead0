import argparse
import torch
from torch import nn
ap = argparse.ArgumentParser(); ap.add_argument("--weights"); ap.add_argument("--lr", type=float, default=0.02); ap.add_argument("--epochs", type=int, default=5); args = ap.parse_args()
torch.manual_seed(77)
x = torch.rand(60, 4); y = x.prod(1, keepdim=True)
net = nn.Sequential(nn.Linear(4, 10), nn.Sigmoid(), nn.Linear(10, 1))
opt = torch.optim.SGD(net.parameters(), lr=args.lr, momentum=0.8)
scheduler = torch.optim.lr_scheduler.MultiStepLR(opt, milestones=[1, 4], gamma=0.1)
e = 0
if args.weights:
    c = torch.load(args.weights)
    net.load_state_dict(c["net"]); opt.load_state_dict(c["opt"]); scheduler.load_state_dict(c["sch"]); e = c["e"]
    for g in opt.param_groups:
        g["lr"] = args.lr
while e < args.epochs:
    for k in range(0, 60, 20):
        l = (net(x[k:k+20]) - y[k:k+20]).square().mean(); opt.zero_grad(); l.backward(); opt.step()
    scheduler.step(); e += 1
    if not args.weights: torch.save(dict(net=net.state_dict(), opt=opt.state_dict(), sch=scheduler.state_dict(), e=e), f"w{e}.pt")
