"""The learning rate was edited on the second machine."""
# /// zoo
# outcome = "different"
# origin = "environment"
# causes = ["code-version"]
# mode = "machines"
# edit = ["lr=0.1", "lr=0.2"]
# ///
import torch

torch.manual_seed(0)
x = torch.randn(64, 8)
y = x.sum(1, keepdim=True)
model = torch.nn.Linear(8, 1)
opt = torch.optim.SGD(model.parameters(), lr=0.1)
for i in range(8):
    idx = torch.randperm(64)[:8]
    loss = torch.nn.functional.mse_loss(model(x[idx]), y[idx])
    opt.zero_grad()
    loss.backward()
    opt.step()
