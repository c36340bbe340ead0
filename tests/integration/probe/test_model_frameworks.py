"""Lightning, HF's Trainer and accelerate: scripts that people really have, on tiny random models, without any download."""

from __future__ import annotations

from pathlib import Path

import pytest
from model_twins import per_step, train

pytest.importorskip("torch")


@pytest.mark.slow
def test_lightning_trains_by_closures(tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    run = train(
        tmp_path,
        """
import logging, warnings
warnings.simplefilter("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
import lightning as L
class Lit(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = net()
    def training_step(self, batch, index):
        x, y = batch
        return nn.functional.cross_entropy(self.net(x), y)
    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)
L.seed_everything(0, verbose=False)
model = Lit()
trainer = L.Trainer(max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=True, enable_progress_bar=False,
                    enable_model_summary=False, gradient_clip_val=0.5, accumulate_grad_batches=2)
trainer.fit(model, torch.utils.data.DataLoader(list(batches(6)), batch_size=None))
weights(model)
""",
    )
    main = run.main
    assert len(main.steps) == 3
    assert main.sites("init", 0)[:2] == ["root1/0.weight", "root1/0.bias"]
    assert per_step(main, "loss") == [2, 2, 2]
    assert per_step(main, "backward") == [4, 4, 4]
    zero = {record.site: record.digest for record in main.of("backward", 0)}
    one = {record.site: record.digest for record in main.of("backward", 1)}
    assert zero.keys() == one.keys()
    assert all(zero[site] != one[site] for site in zero)
    assert any("exp_avg" in site for site in main.sites("update", 2))
    assert any("[state_dict][net.0.weight]" in site for site in main.sites("artifact"))


@pytest.mark.slow
def test_the_trainer_of_transformers(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    run = train(
        tmp_path,
        """
import warnings
warnings.simplefilter("ignore")
os.environ["HF_HUB_OFFLINE"] = "1"
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments, set_seed
set_seed(0)
model = GPT2LMHeadModel(GPT2Config(vocab_size=32, n_positions=16, n_embd=16, n_layer=1, n_head=2))
generator = torch.Generator().manual_seed(0)
data = [{"input_ids": row, "labels": row} for row in torch.randint(32, (16, 8), generator=generator)]
arguments = TrainingArguments("out", max_steps=3, per_device_train_batch_size=2, gradient_accumulation_steps=2, use_cpu=True,
                              report_to=[], save_strategy="steps", save_steps=2, disable_tqdm=True, logging_strategy="no")
Trainer(model=model, args=arguments, train_dataset=data).train()
weights(model)
""",
    )
    main = run.main
    assert len(main.steps) == 3
    assert per_step(main, "loss") == [2, 2, 2]
    assert "root1/transformer.h.0.attn.c_attn" in main.sites("forward", 0)
    assert main.sites("init", 0).count("root1/transformer.wte.weight") == 1
    assert not any("lm_head.weight" in site for site in main.sites("init", 0)), "tied to wte: once"
    assert "root1/transformer.wte.weight" in main.sites("backward", 2)
    artifacts = main.sites("artifact")
    assert any("model.safetensors:[transformer.wte.weight]" in site for site in artifacts)
    assert any("optimizer.pt:" in site for site in artifacts)


@pytest.mark.slow
def test_accelerate_does_not_count_twice(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    run = train(
        tmp_path,
        """
from accelerate import Accelerator
accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
model = net()
model, optimizer, loader = accelerator.prepare(
    model, torch.optim.AdamW(model.parameters()), torch.utils.data.DataLoader(list(batches(4)), batch_size=None))
for x, y in loader:
    with accelerator.accumulate(model):
        accelerator.backward(nn.functional.cross_entropy(model(x), y))
        accelerator.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
weights(model)
""",
    )
    assert len(run.main.steps) == 2
    assert per_step(run.main, "loss") == [2, 2]
    assert per_step(run.main, "backward") == [4, 4]
