"""A learning rate that is searched with a generator of its own, which nobody seeds."""
# /// zoo
# outcome = "different"
# origin = "code"
# causes = ["unseeded-rng"]
# confirmed = ["unseeded-rng"]
# where = "random.Random()"
# mode = "audit"
# ///
import random

import torch

torch.manual_seed(3)
search = random.Random()
x = torch.randn(64, 8)
y = x.sum(1, keepdim=True)


def fitted(lr: float) -> float:
    torch.manual_seed(4)
    model = torch.nn.Linear(8, 1)
    opt = torch.optim.SGD(model.parameters(), lr=lr)
    for _ in range(3):
        loss = torch.nn.functional.mse_loss(model(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
    return loss.item()


print(min((fitted(lr), lr) for lr in (10 ** search.uniform(-3, -1) for _ in range(3))))
