import os
import random

import numpy as np
import torch


class Engine:
    """Trains, validates and writes last-N.ckpt after each epoch."""

    def __init__(self, model, optimizer, scheduler, loss, out):
        self.model, self.optimizer, self.scheduler, self.loss, self.out = model, optimizer, scheduler, loss, out
        self.epoch = 0
        os.makedirs(out, exist_ok=True)

    def save(self):
        state = {
            "epoch": self.epoch,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rng": {"torch": torch.get_rng_state(), "numpy": np.random.get_state(), "python": random.getstate()},
        }
        torch.save(state, os.path.join(self.out, f"last-{self.epoch}.ckpt"))

    def load(self, path):
        state = torch.load(path, weights_only=False)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"]   # the new schedule decides
        torch.set_rng_state(state["rng"]["torch"])
        np.random.set_state(state["rng"]["numpy"])
        random.setstate(state["rng"]["python"])
        self.epoch = state["epoch"] + 1

    def run(self, loader, max_epochs):
        while self.epoch < max_epochs:
            for x, y in loader:
                loss = self.loss(self.model(x), y)
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
            self.scheduler.step()
            self.save()
            print(f"epoch {self.epoch} loss {loss.item():.4f} lr {self.optimizer.param_groups[0]['lr']:.5f}")
            self.epoch += 1
