"""Rows are summed by index_add on a GPU: atomics, in whatever order they come."""
# /// zoo
# outcome = "different"
# origin = "code"
# causes = ["nondeterministic-kernel"]
# mode = "audit"
# needs_cuda = true
# ///
import torch

torch.manual_seed(0)
x = torch.randn(200_000, 16, device="cuda")
where = torch.randint(0, 50, (200_000,), device="cuda")
weight = torch.nn.Parameter(torch.ones(16, 4, device="cuda"))
opt = torch.optim.SGD([weight], lr=1e-3)
for _ in range(8):
    pooled = torch.zeros(50, 4, device="cuda").index_add(0, where, x @ weight)
    loss = pooled.square().mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
