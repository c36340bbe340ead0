"""An iterable dataset fed by imap_unordered: what is done first comes first."""
# /// zoo
# outcome = "different"
# origin = "code"
# causes = ["concurrency"]
# confirmed = ["concurrency"]
# mode = "audit"
# ///
import time
from multiprocessing.pool import ThreadPool

import torch
from torch.utils.data import DataLoader, IterableDataset


def work(number):
    time.sleep((time.time_ns() // 1000 % 997) / 200_000)
    return torch.full((4,), float(number))


class Stream(IterableDataset):
    def __iter__(self):
        with ThreadPool(4) as pool:
            yield from pool.imap_unordered(work, range(64))


torch.manual_seed(0)
model = torch.nn.Linear(4, 1)
opt = torch.optim.SGD(model.parameters(), lr=1e-4)
for x in DataLoader(Stream(), batch_size=8):
    loss = model(x).square().mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
