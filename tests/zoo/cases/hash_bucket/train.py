"""Hashing trick: hash(str) % buckets is a token id."""
# /// zoo
# outcome = "different"
# origin = "code"
# causes = ["hash-order", "unknown"]
# any_of = true
# confirmed = ["hash-order"]
# mode = "audit"
# ///
import torch
from torch import nn

TEXT = "the quick brown fox jumps over the lazy dog and runs away from the angry bear".split()
torch.manual_seed(0)
table = nn.Embedding(64, 8)
head = nn.Linear(8, 1)
opt = torch.optim.SGD([*table.parameters(), *head.parameters()], lr=0.1)
for step in range(5):
    ids = torch.tensor([hash(word) % 64 for word in TEXT])
    loss = head(table(ids)).pow(2).mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
