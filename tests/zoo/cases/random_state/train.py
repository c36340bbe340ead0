"""A numpy RandomState that nobody seeds draws the noise."""
# /// zoo
# outcome = "different"
# origin = "code"
# causes = ["unseeded-rng"]
# mode = "audit"
# ///
import numpy as np
import torch

torch.manual_seed(3)
noise = np.random.RandomState()

model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))
opt = torch.optim.SGD(model.parameters(), lr=0.05)
for _ in range(5):
    x = torch.from_numpy(noise.uniform(size=(4, 8)).astype(np.float32))
    loss = model(x).square().mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
