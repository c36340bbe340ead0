import torch
from settings import Settings
from torch import nn

s = Settings.from_environment()
torch.manual_seed(2)
net = nn.Sequential(nn.Linear(5, 20), nn.Tanh(), nn.Linear(20, 1))
opt = torch.optim.SGD(net.parameters(), lr=s.lr)
for _ in range(s.steps):
    x = torch.randn(s.batch, 5)
    loss = (net(x) - x.prod(1, keepdim=True)).square().mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
print(loss.item())
