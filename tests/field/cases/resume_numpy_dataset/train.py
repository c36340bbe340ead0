import numpy as np, torch, argparse
from torch import nn
from torch.utils.data import DataLoader, Dataset

class Crops(Dataset):
    """Random windows of a long signal; the generator belongs to the dataset."""
    def __init__(self, seed):
        self.signal = np.sin(np.arange(4000) / 17.0).astype(np.float32)
        self.rng = np.random.default_rng(seed)
    def __len__(self): return 64
    def __getitem__(self, index):
        at = int(self.rng.integers(0, 3900))
        w = self.signal[at:at + 33]
        return torch.from_numpy(w[:32].copy()), torch.tensor(w[32:].copy())

ap = argparse.ArgumentParser(); ap.add_argument("--resume"); ap.add_argument("--seed", type=int, default=4); args = ap.parse_args()
torch.manual_seed(args.seed)
net = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1)); opt = torch.optim.Adam(net.parameters(), 1e-3)
loader = DataLoader(Crops(args.seed), batch_size=16)
begin = 0
if args.resume:
    k = torch.load(args.resume); net.load_state_dict(k["net"]); opt.load_state_dict(k["opt"]); begin = k["epoch"]
for epoch in range(begin, 4):
    if epoch == 2 and not args.resume: torch.save({"net": net.state_dict(), "opt": opt.state_dict(), "epoch": epoch}, "two.pt")
    for a, b in loader:
        loss = nn.functional.mse_loss(net(a), b); opt.zero_grad(); loss.backward(); opt.step()
    print(epoch, loss.item())
