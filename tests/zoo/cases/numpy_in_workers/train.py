"""default_rng() in each worker; the main process is seeded."""
# /// zoo
# outcome = "different"
# origin = "code"
# causes = ["worker-seeding"]
# confirmed = ["worker-seeding"]
# mode = "audit"
# ///
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset


class Noisy(Dataset):
    def __len__(self):
        return 32

    def __getitem__(self, index):
        return torch.from_numpy(np.full(4, index) + np.random.default_rng().normal(size=4)).float()


if __name__ == "__main__":
    np.random.seed(0)
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 1)
    opt = torch.optim.SGD(model.parameters(), lr=1e-3)
    for x in DataLoader(Noisy(), batch_size=4, shuffle=True, num_workers=2):
        loss = model(x).pow(2).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
