"""A loop as of a trainer: accumulation, clipping, a schedule; only the collator draws what nobody seeded."""
# /// zoo
# outcome = "different"
# origin = "code"
# causes = ["unseeded-rng"]
# confirmed = ["unseeded-rng"]
# where = "random.sample"
# mode = "audit"
# ///
import random

import torch
from torch import nn
from torch.utils.data import DataLoader


class Collator:
    """Masks two tokens of each example."""

    def __call__(self, examples):
        ids = torch.stack(examples)
        labels = torch.full_like(ids, -100)
        for row in range(len(ids)):
            for at in random.sample(range(ids.shape[1]), 2):
                labels[row, at] = ids[row, at]
                ids[row, at] = 0
        return {"input_ids": ids, "labels": labels}


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(32, 16)
        self.body = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.head = nn.Linear(16, 32)

    def forward(self, input_ids, labels):
        logits = self.head(self.body(self.embed(input_ids)))
        return nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)


torch.manual_seed(42)
data = [torch.randint(1, 32, (12,)) for _ in range(48)]
model = Model()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
schedule = torch.optim.lr_scheduler.LinearLR(optimizer, total_iters=4)
for number, batch in enumerate(DataLoader(data, batch_size=4, shuffle=True, collate_fn=Collator())):
    loss = model(**batch) / 2
    loss.backward()
    if number % 2:
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
