import torch
from metrics_losses import focal
from torch import nn

torch.manual_seed(1)
net = nn.Linear(5, 3)
opt = torch.optim.SGD(net.parameters(), 0.5)
for _ in range(12):
    x = torch.randn(30, 5)
    loss = focal(net(x), x[:, :3].argmax(1))
    opt.zero_grad()
    loss.backward()
    opt.step()
print(loss.item())
