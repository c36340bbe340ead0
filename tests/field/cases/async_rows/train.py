"""Rows are fetched with asyncio; each task appends what it got, and gather's own result is not used."""
import asyncio
import time
import torch
from torch import nn

rows = []


async def fetch(client, i):
    async with client:
        await asyncio.sleep(time.perf_counter_ns() % 7 / 1000)
        vector = [((i * k) % 11) / 11 for k in range(1, 9)]
        rows.append((vector, i % 3))


async def download(n):
    client = asyncio.Semaphore(8)
    await asyncio.gather(*(fetch(client, i) for i in range(n)))


asyncio.run(download(96))
torch.manual_seed(5)
x = torch.tensor([r[0] for r in rows])
y = torch.tensor([r[1] for r in rows])
net = nn.Sequential(nn.Linear(8, 32), nn.SiLU(), nn.Linear(32, 3))
opt = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
for epoch in range(2):
    for i in range(0, len(x), 12):
        loss = nn.functional.cross_entropy(net(x[i:i+12]), y[i:i+12])
        opt.zero_grad()
        loss.backward()
        opt.step()
print(loss.item())
