"""Samples are read by threads and taken as they complete."""
# /// zoo
# outcome = "different"
# origin = "code"
# causes = ["concurrency"]
# confirmed = ["concurrency"]
# mode = "audit"
# variables = { PYTHONHASHSEED = "0" }
# ///
import time
from concurrent.futures import ThreadPoolExecutor, as_completed

import torch
from torch.utils.data import DataLoader, IterableDataset


def read(i):
    time.sleep(0.001 + (time.perf_counter_ns() % 97) / 10_000)
    return torch.full((4,), i / 32)


class Racing(IterableDataset):
    def __iter__(self):
        with ThreadPoolExecutor(8) as pool:
            for done in as_completed([pool.submit(read, i) for i in range(32)]):
                yield done.result()


torch.manual_seed(0)
model = torch.nn.Linear(4, 1)
opt = torch.optim.SGD(model.parameters(), lr=0.1)
for x in DataLoader(Racing(), batch_size=4):
    loss = (model(x) - 1).pow(2).mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
