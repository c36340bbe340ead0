"""0 workers against 2 without any random transform: equal."""
# /// zoo
# outcome = "identical"
# mode = "audit"
# options = ["--vary", "workers=0,2"]
# ///
import torch
from torch.utils.data import DataLoader, Dataset


class Squares(Dataset):
    def __len__(self):
        return 32

    def __getitem__(self, index):
        return torch.arange(4.0) * index, torch.tensor(float(index % 3))


if __name__ == "__main__":
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.2), torch.nn.Linear(8, 1))
    opt = torch.optim.SGD(model.parameters(), lr=1e-4)
    for x, y in DataLoader(Squares(), batch_size=4, shuffle=True, num_workers=2):
        loss = (model(x).squeeze(1) - y).pow(2).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
