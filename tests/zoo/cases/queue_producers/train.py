"""Two producers and a queue: batches come as the threads run."""
# /// zoo
# outcome = "different"
# origin = "code"
# causes = ["concurrency"]
# mode = "audit"
# ///
import queue
import threading
import time

import torch

batches = queue.Queue()


def produce(first):
    for number in range(first, 12, 2):
        time.sleep((time.perf_counter_ns() % 991) / 100_000)
        batches.put(torch.full((3, 4), float(number)))


torch.manual_seed(0)
model = torch.nn.Linear(4, 2)
opt = torch.optim.SGD(model.parameters(), lr=1e-3)
for first in (0, 1):
    threading.Thread(target=produce, args=(first,)).start()
for _ in range(12):
    loss = model(batches.get()).square().mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
