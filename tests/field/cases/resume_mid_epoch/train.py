"""A trainer by steps, as for language models: a checkpoint every few steps, wherever the epoch is."""
import argparse
import json
import os

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Lines(Dataset):
    """Numbered lines of tokens; no line is like another."""

    def __init__(self, n=96, length=16, vocab=50):
        self.ids = [(torch.arange(length) * (3 + i % 7) + i) % vocab for i in range(n)]

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, i):
        return {"input_ids": self.ids[i], "labels": self.ids[i].roll(-1)}


class LM(nn.Module):
    def __init__(self, vocab=50, dim=32):
        super().__init__()
        self.embed = nn.Embedding(vocab, dim)
        self.rnn = nn.LSTM(dim, dim, batch_first=True)
        self.head = nn.Linear(dim, vocab)

    def forward(self, input_ids, labels):
        logits = self.head(self.rnn(self.embed(input_ids))[0])
        return nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())


class StepTrainer:
    def __init__(self, args):
        self.args = args
        torch.manual_seed(args.seed)
        self.model = LM()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=args.learning_rate)
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, T_max=args.max_steps)
        self.loader = DataLoader(Lines(), batch_size=8)   # sequential: curriculum order
        self.step = 0

    def save(self):
        folder = f"checkpoint-{self.step}"
        os.makedirs(folder, exist_ok=True)
        torch.save(self.model.state_dict(), f"{folder}/pytorch_model.bin")
        torch.save(self.optimizer.state_dict(), f"{folder}/optimizer.pt")
        torch.save(self.scheduler.state_dict(), f"{folder}/scheduler.pt")
        torch.save(torch.get_rng_state(), f"{folder}/rng_state.pth")
        json.dump({"global_step": self.step}, open(f"{folder}/trainer_state.json", "w"))

    def load(self, folder):
        self.model.load_state_dict(torch.load(f"{folder}/pytorch_model.bin"))
        self.optimizer.load_state_dict(torch.load(f"{folder}/optimizer.pt"))
        self.scheduler.load_state_dict(torch.load(f"{folder}/scheduler.pt"))
        torch.set_rng_state(torch.load(f"{folder}/rng_state.pth"))
        self.step = json.load(open(f"{folder}/trainer_state.json"))["global_step"]

    def train(self):
        while True:
            for batch in self.loader:
                if self.step == self.args.max_steps:
                    return
                if self.step and self.step % 7 == 0 and not self.args.resume_from_checkpoint:
                    self.save()
                loss = self.model(**batch)
                loss.backward()
                self.optimizer.step()
                self.scheduler.step()
                self.optimizer.zero_grad()
                self.step += 1


p = argparse.ArgumentParser()
p.add_argument("--max_steps", type=int, default=18)
p.add_argument("--learning_rate", type=float, default=4e-3)
p.add_argument("--seed", type=int, default=42)
p.add_argument("--resume_from_checkpoint")
args = p.parse_args()
trainer = StepTrainer(args)
if args.resume_from_checkpoint:
    trainer.load(args.resume_from_checkpoint)
trainer.train()
