"""Rows in the order in which a pool of threads finishes them."""
# /// zoo
# outcome = "different"
# origin = "code"
# causes = ["concurrency"]
# confirmed = ["concurrency"]
# mode = "audit"
# ///
import time
from concurrent.futures import ThreadPoolExecutor, as_completed

import torch


def load(number):
    time.sleep((time.perf_counter_ns() % 1009) / 50_000)
    return torch.linspace(0, number, 8)


torch.manual_seed(0)

model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))
opt = torch.optim.SGD(model.parameters(), lr=0.05)
for _ in range(4):
    with ThreadPoolExecutor(4) as pool:
        rows = [done.result() for done in as_completed([pool.submit(load, number) for number in range(16)])]
    x = torch.stack(rows[:8])
    loss = model(x).square().mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
