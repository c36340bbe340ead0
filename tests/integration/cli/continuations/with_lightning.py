"""Lightning restores weights, optimizer, schedule and loops, and no random generator."""

from __future__ import annotations

import argparse

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser()
parser.add_argument("--ckpt")
parser.add_argument("--root", default="pl_out")
options = parser.parse_args()
lightning.seed_everything(5)


class Regression(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Dropout(0.2), torch.nn.Linear(8, 1))

    def training_step(self, batch, number):
        features, target = batch
        return torch.nn.functional.mse_loss(self.net(features), target)

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), 1e-2)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)]


features = torch.linspace(0, 1, 120).view(40, 3)
loader = DataLoader(TensorDataset(features, features.sum(1, keepdim=True)), 8, shuffle=True)
trainer = lightning.Trainer(
    max_epochs=3,
    default_root_dir=options.root,
    accelerator="cpu",
    logger=False,
    enable_progress_bar=False,
    enable_model_summary=False,
    callbacks=[ModelCheckpoint(dirpath=options.root, filename="e{epoch}", save_top_k=-1)],
)
trainer.fit(Regression(), loader, ckpt_path=options.ckpt)
