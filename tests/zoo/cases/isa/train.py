"""The second machine's environment takes another instruction set."""
# /// zoo
# outcome = "different"
# origin = "environment"
# causes = ["cpu-isa"]
# confirmed = ["cpu-isa"]
# mode = "machines"
# right_variables = { ATEN_CPU_CAPABILITY = "default" }
# ///
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(7)
model = nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.LayerNorm(64), nn.Linear(64, 4))
data = TensorDataset(torch.rand(64, 32), torch.randint(0, 4, (64,)))
opt = torch.optim.AdamW(model.parameters(), lr=1e-3)
for x, y in DataLoader(data, batch_size=8, shuffle=True):
    loss = nn.functional.cross_entropy(model(x), y)
    opt.zero_grad()
    loss.backward()
    opt.step()
