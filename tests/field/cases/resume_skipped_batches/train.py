"""Stops in the middle of an epoch; accelerate's skip_first_batches goes on where it was."""
import argparse
import torch
from accelerate import Accelerator, DataLoaderConfiguration, skip_first_batches
from accelerate.utils import set_seed
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
p = argparse.ArgumentParser(); p.add_argument("--resume"); p.add_argument("--project", default="proj"); a = p.parse_args()
acc = Accelerator(cpu=True, dataloader_config=DataLoaderConfiguration(use_seedable_sampler=True))
set_seed(5)
x = torch.linspace(-1, 1, 80 * 3).view(80, 3)
net = nn.Sequential(nn.Linear(3, 10), nn.ReLU(), nn.Linear(10, 1)); opt = torch.optim.Adam(net.parameters(), 1e-2)
loader = DataLoader(TensorDataset(x, x.prod(1, keepdim=True)), batch_size=8, shuffle=True)
net, opt, loader = acc.prepare(net, opt, loader)
step = 0
if a.resume: acc.load_state(a.resume); step = int(a.resume.split("-")[-1])
for epoch in range(step // 10, 3):
    loader.set_epoch(epoch)
    source = skip_first_batches(loader, step % 10) if a.resume and epoch == step // 10 and step % 10 else loader
    for b, t in source:
        loss = nn.functional.mse_loss(net(b), t); opt.zero_grad(); acc.backward(loss); opt.step(); step += 1
        if step == 13 and not a.resume: acc.save_state(f"{a.project}/step-{step}")
    if a.resume: pass
