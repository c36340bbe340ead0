"""Everything is restored: weights, AveragedModel, optimizer, warm-up, scaler-less bf16, generators of the loader and of the dataset."""
import argparse, os, random
import numpy as np, torch
from torch import nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, Dataset

class Mixed(Dataset):
    def __init__(self):
        self.x = torch.linspace(-2, 2, 70 * 3).view(70, 3); self.g = torch.Generator().manual_seed(3); self.rng = np.random.default_rng(3)
    def __len__(self): return 70
    def __getitem__(self, i):
        return self.x[i] * (1 + 0.1 * torch.rand(1, generator=self.g)) + float(self.rng.normal(0, .01)), self.x[i].sum(0, keepdim=True)

class Session:
    def __init__(self):
        random.seed(0); np.random.seed(0); torch.manual_seed(0)
        self.data = Mixed(); self.gen = torch.Generator().manual_seed(1)
        self.loader = DataLoader(self.data, 14, shuffle=True, generator=self.gen)
        self.net = nn.Sequential(nn.Linear(3, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(.2), nn.Linear(12, 1)); self.avg = AveragedModel(self.net)
        self.opt = torch.optim.AdamW(self.net.parameters(), 5e-3)
        self.warm = torch.optim.lr_scheduler.SequentialLR(self.opt, [torch.optim.lr_scheduler.LinearLR(self.opt, .1, 1, 4), torch.optim.lr_scheduler.CosineAnnealingLR(self.opt, 16)], [4])
        self.epoch = 0
    def parts(self): return {"net": self.net, "avg": self.avg, "opt": self.opt, "warm": self.warm}
    def save(self, path):
        torch.save({**{k: v.state_dict() for k, v in self.parts().items()}, "epoch": self.epoch, "gen": self.gen.get_state(), "data_gen": self.data.g.get_state(),
                    "data_np": self.data.rng.bit_generator.state, "rng": (random.getstate(), np.random.get_state(), torch.get_rng_state())}, path)
    def load(self, path):
        s = torch.load(path, weights_only=False)
        for k, v in self.parts().items(): v.load_state_dict(s[k])
        self.epoch = s["epoch"]; self.gen.set_state(s["gen"]); self.data.g.set_state(s["data_gen"]); self.data.rng.bit_generator.state = s["data_np"]
        random.setstate(s["rng"][0]); np.random.set_state(s["rng"][1]); torch.set_rng_state(s["rng"][2])
    def run(self, until, out):
        os.makedirs(out, exist_ok=True)
        while self.epoch < until:
            for x, y in self.loader:
                loss = nn.functional.mse_loss(self.net(x), y); self.opt.zero_grad(); loss.backward(); self.opt.step(); self.warm.step(); self.avg.update_parameters(self.net)
            self.epoch += 1; self.save(f"{out}/{self.epoch}.pt")
        print(loss.item())

p = argparse.ArgumentParser(); p.add_argument("--from", dest="path"); p.add_argument("--out", default="o"); a = p.parse_args()
s = Session()
if a.path: s.load(a.path)
s.run(4, a.out)
