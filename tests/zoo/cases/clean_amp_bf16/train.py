"""Autocast to bfloat16 with gradient accumulation and clipping: clean."""
# /// zoo
# outcome = "identical"
# mode = "audit"
# ///
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(99)
model = nn.Sequential(nn.Embedding(50, 16), nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), nn.Linear(16, 50))
data = TensorDataset(torch.randint(0, 50, (64, 10)))
opt = torch.optim.AdamW(model.parameters(), lr=1e-3)
opt.zero_grad()
for i, (tokens,) in enumerate(DataLoader(data, batch_size=8, shuffle=True)):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(tokens)
        loss = nn.functional.cross_entropy(logits[:, :-1].reshape(-1, 50), tokens[:, 1:].reshape(-1)) / 2
    loss.backward()
    if i % 2:
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        opt.zero_grad()
