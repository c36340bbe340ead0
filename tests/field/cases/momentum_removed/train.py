import torch
from solver import build_optimizer
from torch import nn

torch.manual_seed(77)
features = torch.randn(12, 16, 14)
clicks = (features[..., :2].sum(-1) > 0).float()


class CTR(nn.Module):
    def __init__(self):
        super().__init__()
        self.deep = nn.Sequential(nn.Linear(14, 20), nn.ReLU(), nn.Linear(20, 1))
        self.wide = nn.Linear(14, 1)

    def forward(self, x):
        return (self.deep(x) + self.wide(x)).squeeze(-1)


model = CTR()
optimizer = build_optimizer(model, lr=0.02)
for step, (x, y) in enumerate(zip(features, clicks)):
    loss = nn.functional.binary_cross_entropy_with_logits(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(step, f"{loss.item():.6f}")
