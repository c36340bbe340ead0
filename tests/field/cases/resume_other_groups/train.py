"""Two towers with equal shapes and two groups; the command that resumes builds its groups in another order."""
import sys
import torch
from torch import nn

class Towers(nn.Module):
    def __init__(self):
        super().__init__()
        self.text = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4))
        self.image = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4))
    def forward(self, a, b):
        return nn.functional.normalize(self.text(a), dim=1) @ nn.functional.normalize(self.image(b), dim=1).T

def groups(model, names):
    return [{"params": list(getattr(model, name).parameters())} for name in names]

def train(model, opt, first, last):
    for step in range(first, last):
        g = torch.Generator().manual_seed(step)
        a = torch.randn(12, 8, generator=g); b = a.flip(1)
        loss = nn.functional.cross_entropy(model(a, b) * 5, torch.arange(12))
        opt.zero_grad(); loss.backward(); opt.step()
        if step == 9 and first == 0:
            torch.save([model.state_dict(), opt.state_dict(), step + 1], "towers.pt")
    print(loss.item())

torch.manual_seed(6)
model = Towers()
if sys.argv[1:] == ["resume"]:
    opt = torch.optim.AdamW(groups(model, ["image", "text"]), lr=2e-3)
    weights, moments, step = torch.load("towers.pt")
    model.load_state_dict(weights)
    opt.load_state_dict(moments)
    train(model, opt, step, 20)
else:
    opt = torch.optim.AdamW(groups(model, ["text", "image"]), lr=2e-3)
    train(model, opt, 0, 20)
