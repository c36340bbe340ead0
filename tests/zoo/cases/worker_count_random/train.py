"""Random augmentation in __getitem__, 0 workers against 2."""
# /// zoo
# outcome = "different"
# origin = "environment"
# causes = ["worker-count"]
# confirmed = ["worker-count"]
# mode = "audit"
# options = ["--vary", "workers=0,2"]
# ///
import torch
from torch.utils.data import DataLoader, Dataset


class Noisy(Dataset):
    def __len__(self):
        return 32

    def __getitem__(self, index):
        return torch.full((4,), float(index)) + torch.rand(4)


if __name__ == "__main__":
    torch.manual_seed(0)
    loader = DataLoader(Noisy(), batch_size=4, shuffle=True, num_workers=0)
    model = torch.nn.Linear(4, 1)
    opt = torch.optim.SGD(model.parameters(), lr=1e-3)
    for x in loader:
        loss = model(x).pow(2).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
