import json
import os
import queue
import random
import threading
import time

import torch
from torch import nn


class Monitor(threading.Thread):
    """Writes the load of the machine and a jittered pause, as agents of loggers do."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.path, self.stopped, self.jitter = path, threading.Event(), random.Random()

    def run(self):
        with open(self.path, "w") as file:
            while not self.stopped.wait(0.05 + self.jitter.random() / 20):
                file.write(json.dumps({"t": time.time(), "load": os.getloadavg(), "pid": os.getpid()}) + "\n")


class ReadAhead:
    """One producer and a queue: batches keep their order."""

    def __init__(self, batches, depth=3):
        self.queue = queue.Queue(depth)
        self.thread = threading.Thread(target=self._produce, args=(batches,), daemon=True)
        self.thread.start()

    def _produce(self, batches):
        for number, batch in enumerate(batches):
            time.sleep((number * 13 % 7) / 1000)
            self.queue.put(batch)
        self.queue.put(None)

    def __iter__(self):
        while (batch := self.queue.get()) is not None:
            yield batch


torch.manual_seed(64)
inputs = torch.randn(20, 16, 8)
monitor = Monitor(f"system-{os.getpid()}.jsonl")
monitor.start()
model = nn.Sequential(nn.Linear(8, 24), nn.Mish(), nn.Linear(24, 8))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
begun = time.time()
for x in ReadAhead(inputs.unbind()):
    loss = nn.functional.mse_loss(model(x), x.roll(1, dims=1))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
monitor.stopped.set()
print(f"loss {loss.item():.5f} after {time.time() - begun:.2f} s")
