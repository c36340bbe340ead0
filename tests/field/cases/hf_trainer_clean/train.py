import datetime
import os
import uuid

import torch
from torch.utils.data import Dataset
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments, set_seed


class Sentences(Dataset):
    def __len__(self):
        return 64

    def __getitem__(self, i):
        ids = torch.tensor([1] + [(i * k + k) % 90 + 5 for k in range(10)] + [2])
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": int(i % 3 == 0)}


set_seed(42)
run = f"{datetime.datetime.now():%m%d-%H%M%S}-{uuid.uuid4().hex[:8]}-{os.getpid()}"
config = BertConfig(vocab_size=100, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
                    max_position_embeddings=16)
trainer = Trainer(
    model=BertForSequenceClassification(config),
    args=TrainingArguments(
        output_dir=os.path.join("results", run), run_name=run, num_train_epochs=1, per_device_train_batch_size=8,
        learning_rate=1e-3, save_strategy="no", logging_steps=2, report_to=[], use_cpu=True, seed=42, disable_tqdm=True,
    ),
    train_dataset=Sentences(),
)
print(trainer.train().training_loss)
