"""A thread makes noise batches with torch.randn ahead of time; the model has dropout: both use torch's default generator."""
import threading
import queue
import time
import torch
from torch import nn
import torch.nn.functional as F

torch.manual_seed(11)
noise_q = queue.Queue(maxsize=3)
stop = threading.Event()


def make_noise():
    while not stop.is_set():
        z = torch.randn(16, 8)
        try:
            noise_q.put(z, timeout=0.2)
        except queue.Full:
            pass
        time.sleep(0.0005)


gen = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 4))
opt = torch.optim.Adam(gen.parameters(), 1e-3)
threading.Thread(target=make_noise, daemon=True).start()
for step in range(30):
    z = noise_q.get()
    loss = F.mse_loss(gen(z), z[:, :4].abs())
    opt.zero_grad(); loss.backward(); opt.step()
stop.set()
print(loss.item())
