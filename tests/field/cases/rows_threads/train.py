import torch
from ingest import fill
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(14)
db = fill(":memory:")
rows = torch.tensor(db.execute("SELECT host, seq, load, failed FROM events").fetchall())
dataset = TensorDataset(rows[:, :3] / torch.tensor([8.0, 12.0, 1.0]), rows[:, 3:])
model = nn.Sequential(nn.Linear(3, 24), nn.Tanh(), nn.Linear(24, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
for epoch in range(2):
    for x, failed in DataLoader(dataset, batch_size=8):
        loss = nn.functional.binary_cross_entropy_with_logits(model(x), failed)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(epoch, loss.item())
