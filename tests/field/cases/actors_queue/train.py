"""Actors run episodes in processes and put transitions in a multiprocessing queue; the learner trains as they come."""
import multiprocessing as mp
import time
import numpy as np
import torch
from torch import nn

def actor(k, q, n):
    rng = np.random.default_rng(100 + k)
    for _ in range(n):
        state = rng.standard_normal(5).astype(np.float32)
        for _ in range(rng.integers(1, 200)):
            state = np.tanh(state * 1.01)
        time.sleep(time.perf_counter_ns() % 5 / 1000)
        q.put((state, float(state.sum())))
    q.put(None)

def learner(q, actors):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 32), nn.Tanh(), nn.Linear(32, 1))
    opt = torch.optim.Adam(net.parameters(), 1e-3)
    left, buf = actors, []
    while left:
        item = q.get()
        if item is None:
            left -= 1
            continue
        buf.append(item)
        if len(buf) >= 16:
            x = torch.from_numpy(np.stack([b[0] for b in buf])); y = torch.tensor([[b[1]] for b in buf]); buf = []
            loss = nn.functional.mse_loss(net(x), y)
            opt.zero_grad(); loss.backward(); opt.step()
    print(loss.item())

if __name__ == "__main__":
    q = mp.Queue()
    ps = [mp.Process(target=actor, args=(k, q, 80)) for k in range(3)]
    [p.start() for p in ps]
    learner(q, 3)
    [p.join() for p in ps]
