"""numpy's new generator without a seed adds noise in the loop; all global states are seeded."""
# /// zoo
# outcome = "different"
# origin = "code"
# causes = ["unseeded-rng"]
# confirmed = ["unseeded-rng"]
# where = "np.random.default_rng()"
# mode = "audit"
# ///
import random

import numpy as np
import torch

random.seed(1)
np.random.seed(1)
torch.manual_seed(1)
rng = np.random.default_rng()
model = torch.nn.Linear(3, 1)
opt = torch.optim.Adam(model.parameters())
for step in range(6):
    x = torch.from_numpy(rng.normal(size=(8, 3)).astype("float32"))
    loss = (model(x) - x.sum(1, keepdim=True)).pow(2).mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
