import argparse, pathlib
import numpy as np, torch
from torch import nn

ap = argparse.ArgumentParser(); ap.add_argument("--ckpt", type=pathlib.Path); ap.add_argument("--n-epochs", type=int, default=10)
A = ap.parse_args()
rng = np.random.default_rng(0)
X = torch.tensor(rng.normal(size=(64, 5)), dtype=torch.float32); Y = X.abs().sum(1, keepdim=True)
torch.manual_seed(9)
m = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 1))
o = torch.optim.RMSprop(m.parameters(), lr=0.05, momentum=0.5)
sch = torch.optim.lr_scheduler.ReduceLROnPlateau(o, factor=0.5, patience=0, threshold=0.05)
e0 = 0
if A.ckpt:
    d = torch.load(A.ckpt)
    m.load_state_dict(d["m"])
    o.load_state_dict(d["o"])
    e0 = d["e"] + 1
for e in range(e0, A.n_epochs):
    total = 0.0
    for i in range(0, 64, 16):
        out = nn.functional.l1_loss(m(X[i:i + 16]), Y[i:i + 16])
        o.zero_grad(); out.backward(); o.step(); total += out.item()
    sch.step(total)
    print(e, total, o.param_groups[0]["lr"])
    if A.ckpt is None:
        torch.save({"m": m.state_dict(), "o": o.state_dict(), "e": e}, f"plateau{e}.pt")
