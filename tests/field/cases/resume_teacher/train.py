"""Mean teacher: the student learns labels and the teacher's answers; the teacher is a moving average of the student."""
import argparse
import copy

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

ap = argparse.ArgumentParser()
ap.add_argument("--epochs", type=int, default=3)
ap.add_argument("--resume")
ap.add_argument("--ema-decay", type=float, default=0.97)
ap.add_argument("--consistency", type=float, default=2.0)
opt = ap.parse_args()


class ModelEMA:
    def __init__(self, model, decay):
        self.ema = copy.deepcopy(model).eval()
        self.decay = decay
        for p in self.ema.parameters():
            p.requires_grad_(False)

    @torch.no_grad()
    def update(self, model):
        for slow, fast in zip(self.ema.parameters(), model.parameters()):
            slow.mul_(self.decay).add_(fast, alpha=1 - self.decay)


torch.manual_seed(2)
x = torch.randn(128, 10)
y = (x[:, :5].sum(1) > x[:, 5:].sum(1)).long()
model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 2))
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
start_epoch = 0
if opt.resume:
    ckpt = torch.load(opt.resume)
    model.load_state_dict(ckpt["model"])
    optimizer.load_state_dict(ckpt["optimizer"])
    torch.set_rng_state(ckpt["rng"])
    start_epoch = ckpt["epoch"]
teacher = ModelEMA(model, opt.ema_decay)
for epoch in range(start_epoch, opt.epochs):
    if epoch and not opt.resume:
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "rng": torch.get_rng_state(),
                    "epoch": epoch}, f"ckpt_ep{epoch}.pt")
    for xb, yb in DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True):
        logits = model(xb)
        target = teacher.ema(xb).softmax(1)
        loss = F.cross_entropy(logits, yb) + opt.consistency * F.mse_loss(logits.softmax(1), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        teacher.update(model)
    print(epoch, loss.item())
