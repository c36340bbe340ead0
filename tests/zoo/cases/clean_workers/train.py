"""Workers with augmentation, seeded the right way, persistent: clean."""
# /// zoo
# outcome = "identical"
# mode = "audit"
# ///
import random

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset


class Augmented(Dataset):
    def __len__(self):
        return 24

    def __getitem__(self, index):
        flip = -1.0 if random.random() < 0.5 else 1.0
        return {"x": flip * torch.arange(4.0) * index + torch.randn(4), "noise": np.random.rand(2).astype("float32")}


def seed_worker(worker_id):
    seed = torch.initial_seed() % 2**32
    np.random.seed(seed)
    random.seed(seed)


if __name__ == "__main__":
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    g = torch.Generator()
    g.manual_seed(0)
    loader = DataLoader(
        Augmented(), batch_size=4, shuffle=True, num_workers=2, worker_init_fn=seed_worker, generator=g, persistent_workers=True
    )
    model = torch.nn.Linear(4, 2)
    opt = torch.optim.SGD(model.parameters(), lr=1e-4)
    for epoch in range(2):
        for batch in loader:
            loss = (model(batch["x"]) - batch["noise"]).pow(2).mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
