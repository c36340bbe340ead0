"""HF Trainer; a callback raises the noise of the collator after each epoch, and its level is in no checkpoint."""
import sys
import torch
from torch import nn
from torch.utils.data import Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments, set_seed

class Rows(Dataset):
    def __init__(self): self.x = torch.linspace(-1, 1, 64 * 5).view(64, 5)
    def __len__(self): return 64
    def __getitem__(self, i): return {"features": self.x[i], "labels": self.x[i].sum()}

class Model(nn.Module):
    def __init__(self):
        super().__init__(); self.net = nn.Sequential(nn.Linear(5, 16), nn.Dropout(0.1), nn.ReLU(), nn.Linear(16, 1))
    def forward(self, features, labels):
        out = self.net(features).squeeze(-1)
        return {"loss": nn.functional.mse_loss(out, labels), "logits": out}

class Noisy:
    def __init__(self): self.scale = 0.0
    def __call__(self, rows):
        x = torch.stack([r["features"] for r in rows])
        return {"features": x + self.scale * torch.arange(5) / 50, "labels": torch.stack([r["labels"] for r in rows])}

class Raise(TrainerCallback):
    def __init__(self, noisy): self.noisy = noisy
    def on_epoch_end(self, args, state, control, **_): self.noisy.scale += 1.0

set_seed(3)
noisy = Noisy()
args = TrainingArguments(output_dir=sys.argv[1], num_train_epochs=3, per_device_train_batch_size=16, save_strategy="epoch", report_to=[], use_cpu=True, disable_tqdm=True, learning_rate=1e-2, logging_strategy="no")
trainer = Trainer(model=Model(), args=args, train_dataset=Rows(), data_collator=noisy, callbacks=[Raise(noisy)])
trainer.train(resume_from_checkpoint=sys.argv[2] if len(sys.argv) > 2 else None)
