"""A small trainer with callbacks and checkpoint folders. The dataset adds noise from a generator that it holds."""
from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from pathlib import Path

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset


class Spectra(Dataset):
    def __init__(self, size: int, seed: int):
        base = torch.linspace(0, 6, size * 12).reshape(size, 12)
        self.base = base.cos()
        self.target = self.base[:, ::3].abs().sum(1).gt(2.4).long()
        self._noise = torch.Generator().manual_seed(seed)

    def __len__(self):
        return self.base.shape[0]

    def __getitem__(self, i):
        jitter = torch.randn(12, generator=self._noise) * 0.05
        return self.base[i] + jitter, self.target[i]


@dataclasses.dataclass
class State:
    epoch: int = 0
    global_step: int = 0

    def save(self, path: Path):
        path.write_text(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def read(cls, path: Path):
        return cls(**json.loads(path.read_text()))


class Callback:
    def on_epoch_end(self, trainer): ...
    def on_step_end(self, trainer): ...


class PrintLoss(Callback):
    def on_step_end(self, trainer):
        if trainer.state.global_step % 5 == 0:
            print(trainer.state.global_step, round(trainer.last_loss, 5))


class Checkpoint(Callback):
    def __init__(self, folder, keep=3):
        self.folder, self.keep = Path(folder), keep

    def on_epoch_end(self, trainer):
        target = self.folder / f"checkpoint-{trainer.state.global_step}"
        trainer.save(target)
        for old in sorted(self.folder.glob("checkpoint-*"), key=lambda p: int(p.name.split("-")[1]))[: -self.keep]:
            shutil.rmtree(old)


class Trainer:
    def __init__(self, model, data, epochs, callbacks):
        self.model, self.data, self.epochs, self.callbacks = model, data, epochs, callbacks
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.98))
        self.lr_scheduler = torch.optim.lr_scheduler.LinearLR(self.optimizer, 1.0, 0.2, total_iters=epochs * 6)
        self.state = State()
        self.last_loss = float("nan")

    def save(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(self.model.state_dict(), folder / "model.bin")
        torch.save(self.optimizer.state_dict(), folder / "optimizer.pt")
        torch.save(self.lr_scheduler.state_dict(), folder / "scheduler.pt")
        torch.save({"cpu": torch.get_rng_state()}, folder / "rng_state.pth")
        self.state.save(folder / "trainer_state.json")

    def _load(self, folder: Path):
        self.model.load_state_dict(torch.load(folder / "model.bin", weights_only=True))
        self.optimizer.load_state_dict(torch.load(folder / "optimizer.pt", weights_only=True))
        self.lr_scheduler.load_state_dict(torch.load(folder / "scheduler.pt", weights_only=True))
        self.state = State.read(folder / "trainer_state.json")
        torch.set_rng_state(torch.load(folder / "rng_state.pth", weights_only=True)["cpu"])

    def call(self, name):
        for callback in self.callbacks:
            getattr(callback, name)(self)

    def train(self, resume_from_checkpoint=None):
        if resume_from_checkpoint:
            self._load(Path(resume_from_checkpoint))
        loader = DataLoader(self.data, batch_size=16, shuffle=True)
        while self.state.epoch < self.epochs:
            self.model.train()
            for x, y in loader:
                self.last_loss = self.training_step(x, y)
                self.state.global_step += 1
                self.call("on_step_end")
            self.state.epoch += 1
            self.call("on_epoch_end")

    def training_step(self, x, y):
        loss = F.cross_entropy(self.model(x), y)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.lr_scheduler.step()
        return loss.item()


if __name__ == "__main__":
    torch.manual_seed(11)
    net = nn.Sequential(nn.Linear(12, 20), nn.LayerNorm(20), nn.GELU(), nn.Dropout(0.1), nn.Linear(20, 2))
    output = sys.argv[1]
    trainer = Trainer(net, Spectra(96, seed=5), epochs=4, callbacks=[PrintLoss(), Checkpoint(output)])
    trainer.train(resume_from_checkpoint=sys.argv[2] if len(sys.argv) > 2 else None)
