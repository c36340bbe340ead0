"""The hour of a fixed moment is a feature; the machines live in two time zones."""
# /// zoo
# outcome = "different"
# origin = "environment"
# causes = ["config-drift"]
# confirmed = ["config-drift"]
# mode = "machines"
# left_variables = { TZ = "UTC" }
# right_variables = { TZ = "Asia/Tokyo" }
# ///
import time

import torch

torch.manual_seed(0)
hours = [time.localtime(1_700_000_000 + 5000 * number).tm_hour / 24 for number in range(32)]
data = torch.tensor(hours).view(4, 8)

model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))
opt = torch.optim.SGD(model.parameters(), lr=0.05)
for x in data.split(1):
    loss = model(x).square().mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
