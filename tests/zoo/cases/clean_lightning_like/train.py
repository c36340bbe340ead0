"""A loop with gradient accumulation, EMA, clipping, a scheduler, sorted files and seeded workers: nothing to find."""
# /// zoo
# outcome = "identical"
# mode = "machines"
# data = "order"
# decoys = true
# ///
import os
import sys

import torch
from torch.utils.data import DataLoader, Dataset


class Files(Dataset):
    def __init__(self, folder):
        self.paths = sorted(os.path.join(folder, name) for name in os.listdir(folder))

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        with open(self.paths[index]) as file:
            return torch.tensor([float(word) for word in file.read().split()]) + 0.01 * torch.randn(8)


def main():
    torch.manual_seed(11)
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.BatchNorm1d(16), torch.nn.Dropout(0.2), torch.nn.Linear(16, 1))
    average = torch.optim.swa_utils.AveragedModel(model)
    opt = torch.optim.AdamW(model.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(opt, 0.01, total_steps=10)
    loader = DataLoader(Files(sys.argv[2]), batch_size=4, shuffle=True, num_workers=2, persistent_workers=True)
    for _ in range(2):
        for number, x in enumerate(loader):
            (model(x).square().mean() / 2).backward()
            if number % 2:
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                opt.step()
                schedule.step()
                opt.zero_grad()
                average.update_parameters(model)


if __name__ == "__main__":
    main()
