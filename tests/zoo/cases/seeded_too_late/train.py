"""The model is made before anybody seeds."""
# /// zoo
# outcome = "different"
# origin = "code"
# causes = ["unseeded-rng"]
# confirmed = ["unseeded-rng"]
# where = "torch.manual_seed(11)"
# mode = "audit"
# ///
import torch

model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1))
opt = torch.optim.AdamW(model.parameters(), lr=0.01)

torch.manual_seed(11)
for _ in range(5):
    x = torch.randn(16, 8)
    loss = (model(x) - x.mean(1, keepdim=True)).square().mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
