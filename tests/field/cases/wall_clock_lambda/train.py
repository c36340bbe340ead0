import torch
from schedule import WallClockWarmup
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

torch.manual_seed(3)
data = torch.randn(320, 8)
target = data.sin().sum(1, keepdim=True)
model = nn.Sequential(nn.Linear(8, 32), nn.SiLU(), nn.Linear(32, 1))
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
scheduler = LambdaLR(optimizer, WallClockWarmup(20.0))
for it in range(20):
    rows = slice(it * 16, it * 16 + 16)
    optimizer.zero_grad()
    loss = (model(data[rows]) - target[rows]).square().mean()
    loss.backward()
    optimizer.step()
    scheduler.step()
print(loss.item(), scheduler.get_last_lr())
