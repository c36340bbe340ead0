import argparse

import lightning as L
import torch
from torch.utils.data import DataLoader, TensorDataset

p = argparse.ArgumentParser()
p.add_argument("--ckpt")
p.add_argument("--root", default="pl_out")
p.add_argument("--max-epochs", type=int, default=3)
a = p.parse_args()
L.seed_everything(5)


class Lit(L.LightningModule):
    def __init__(s):
        super().__init__()
        s.net = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Dropout(0.2), torch.nn.Linear(8, 1))

    def training_step(s, batch, i):
        x, y = batch
        return torch.nn.functional.mse_loss(s.net(x), y)

    def configure_optimizers(s):
        o = torch.optim.AdamW(s.parameters(), 1e-2)
        return [o], [torch.optim.lr_scheduler.StepLR(o, 1, 0.5)]


x = torch.linspace(0, 1, 120).view(40, 3)
loader = DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), 8, shuffle=True)
t = L.Trainer(
    max_epochs=a.max_epochs,
    default_root_dir=a.root,
    accelerator="cpu",
    logger=False,
    enable_progress_bar=False,
    enable_model_summary=False,
    callbacks=[L.pytorch.callbacks.ModelCheckpoint(dirpath=a.root, filename="e{epoch}", save_top_k=-1)],
)
t.fit(Lit(), loader, ckpt_path=a.ckpt)
