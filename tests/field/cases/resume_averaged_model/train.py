import argparse
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, TensorDataset

cli = argparse.ArgumentParser()
cli.add_argument("-r", "--resume", metavar="PATH")
cli.add_argument("--out", default="final.pth")
cli.add_argument("--epochs", type=int, default=4)
opts = cli.parse_args()


def save(path, **objects):
    torch.save({name: one.state_dict() if hasattr(one, "state_dict") else one for name, one in objects.items()}, path)


torch.manual_seed(8)
grid = torch.linspace(-3, 3, 160)
ds = TensorDataset(grid.unsqueeze(1), torch.sinc(grid).unsqueeze(1))
model = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 1))
averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
optimizer = torch.optim.NAdam(model.parameters(), lr=5e-3)
begin = 0
if opts.resume:
    ckpt = torch.load(opts.resume, map_location="cpu")
    model.load_state_dict(ckpt["model"])
    optimizer.load_state_dict(ckpt["optimizer"])
    torch.set_rng_state(ckpt["rng"])
    begin = ckpt["epoch"] + 1
for epoch in range(begin, opts.epochs):
    for x, y in DataLoader(ds, 32, shuffle=True):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x), y).backward()
        optimizer.step()
        averaged.update_parameters(model)
    if not opts.resume:
        save(f"ep{epoch}.pth", model=model, optimizer=optimizer, rng=torch.get_rng_state(), epoch=epoch)
with torch.no_grad():
    print("averaged model:", nn.functional.mse_loss(averaged(ds.tensors[0]), ds.tensors[1]).item())
torch.save(averaged.module.state_dict(), opts.out)
