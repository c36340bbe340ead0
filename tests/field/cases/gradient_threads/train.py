"""Three threads backpropagate their shards into one model; then one step is made. The sums of gradients round by their order."""
import threading
import torch
from torch import nn

torch.manual_seed(2)
model = nn.Sequential(nn.Linear(30, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))
opt = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
shards = torch.randn(4, 20, 32, 30)
barrier = threading.Barrier(5)


def worker(r):
    for step in range(20):
        barrier.wait()
        x = shards[r, step]
        nn.functional.mse_loss(model(x), x.sum(1, keepdim=True)).backward()
        barrier.wait()


ts = [threading.Thread(target=worker, args=(r,), daemon=True) for r in range(4)]
[t.start() for t in ts]
for step in range(20):
    opt.zero_grad(set_to_none=False)
    barrier.wait()
    barrier.wait()
    opt.step()
print(sum(p.abs().sum() for p in model.parameters()).item())
