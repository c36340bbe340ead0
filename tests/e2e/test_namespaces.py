"""Hosts of their own (network namespaces) over mutual TLS: a cut cable, and runs that users launch without any agent."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from deployment import wait_for
from network import HOSTS, Network, RemoteDeployment, why_not

WHY_NOT = why_not()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)]

HF = """
import os, warnings
warnings.simplefilter("ignore")
os.environ["HF_HUB_OFFLINE"] = "1"
import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments, set_seed
set_seed(0)
model = GPT2LMHeadModel(GPT2Config(vocab_size=32, n_positions=16, n_embd=16, n_layer=1, n_head=2))
generator = torch.Generator().manual_seed(0)
data = [{"input_ids": row, "labels": row} for row in torch.randint(32, (16, 8), generator=generator)]
arguments = TrainingArguments("out", max_steps=3, per_device_train_batch_size=2, use_cpu=True, report_to=[], save_strategy="no",
                              disable_tqdm=True, logging_strategy="no")
Trainer(model=model, args=arguments, train_dataset=data).train()
"""
LIGHTNING = """
import warnings
warnings.simplefilter("ignore")
import lightning as L
import torch
class Lit(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Linear(4, 1)
    def training_step(self, batch, index):
        return self.net(batch[0]).square().mean()
    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)
L.seed_everything({seed}, verbose=False)
trainer = L.Trainer(max_epochs=1, accelerator="cpu", devices=2, strategy="ddp", logger=False, enable_checkpointing=False,
                    enable_progress_bar=False, enable_model_summary=False)
data = torch.utils.data.TensorDataset(torch.arange(48.0).view(12, 4) / 48)
trainer.fit(Lit(), torch.utils.data.DataLoader(data, batch_size=2))
"""
TORCHRUN = ("torchrun", "--nproc-per-node", "2", "--master-addr", "127.0.0.1", "--master-port", "29617")


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[RemoteDeployment]:
    network = Network()
    deployment = None
    try:
        options = ["--lease", "6", "--heartbeat", "0.5", "--machine-timeout", "12"]
        deployment = RemoteDeployment(tmp_path, coordinator_options=options, network=network)
        deployment.coordinator()
        yield deployment
    finally:
        if deployment is not None:
            deployment.close()
        network.close()


AUDIT = ("mlp", "--machines", "gpu1,gpu2", "--twins", "2")


def assert_no_secret_in_trainings(deployment: RemoteDeployment) -> None:
    """Neither variables nor command lines of a training tree name a token, a key or where they lie."""
    secrets = [(deployment.pki / name / "token").read_bytes().strip() for name in (*HOSTS, "admin")]
    seen = 0
    for entry in Path("/proc").iterdir():
        try:
            text = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if b"DETCTL_RUN_ID=" in text and str(deployment.run_dir).encode() in text:
            seen += 1
            assert not any(secret in text for secret in (*secrets, b"DETCTL_TLS", str(deployment.pki).encode())), text
    assert seen, "no training was looked at"


def test_a_cut_cable_that_is_mended_changes_nothing_and_one_that_is_not_names_its_machine(
    deployment: RemoteDeployment, numbers: Path
) -> None:
    text = deployment.gated(numbers)
    for name in HOSTS:
        deployment.agent(name, text)
    sue = deployment.person("sue", "submitter")
    audit = deployment.audit(*AUDIT, **sue)
    deployment.until_training(audit, *HOSTS)
    assert_no_secret_in_trainings(deployment)
    deployment.network.link("gpu2", "down")
    deployment.gate.touch()
    time.sleep(3)  # both train meanwhile, and gpu2 cannot send
    deployment.network.link("gpu2", "up")
    out, errors = audit.communicate(timeout=240)
    assert audit.returncode == 0, out + errors + deployment.logs()
    assert json.loads(out)["outcome"] == "identical"
    entries = json.loads(deployment.detctl("log", "--json", "--limit", "1000").stdout)["entries"]
    ended = [one for one in entries if one["event"] == "run-ended"]
    assert len(ended) == 4, "nothing twice"

    deployment.gate.unlink()
    audit = deployment.audit(*AUDIT, **sue)
    deployment.until_training(audit, *HOSTS)
    deployment.network.link("gpu2", "down")
    deployment.gate.touch()
    out, errors = audit.communicate(timeout=240)
    verdict = json.loads(out)
    assert audit.returncode == 3 and verdict["outcome"] == "unverified", out + errors
    assert any("gpu2" in reason for reason in verdict["unverified_because"])
    deployment.network.link("gpu2", "up")
    wait_for("gpu2 is back", lambda: deployment.machine("gpu2").get("connected"))
    fresh = deployment.audit(*AUDIT, **sue)  # ten seconds after the fault a fresh audit works
    out, errors = fresh.communicate(timeout=240)
    assert fresh.returncode == 0, out + errors + deployment.logs()


@pytest.mark.soak
def test_scripts_of_hf_and_lightning_under_torchrun_without_an_agent(
    deployment: RemoteDeployment, tmp_path: Path
) -> None:
    pytest.importorskip("transformers")
    pytest.importorskip("lightning")
    sue = deployment.person("sue", "submitter")
    for script, exit_code, outcome in (
        ({"gpu1": HF, "gpu2": HF}, 0, "identical"),
        ({"gpu1": LIGHTNING.format(seed=0), "gpu2": LIGHTNING.format(seed=1)}, 1, "different"),
    ):
        begun = deployment.detctl(
            "audit", "users", "--join-only", "--machines", "gpu1,gpu2", "--twins", "1", "--detach", env=sue
        )
        assert begun.returncode == 0, begun.stderr
        audit_id = begun.stdout.strip()
        for host in HOSTS:
            folder = tmp_path / f"{host}-{outcome}"
            folder.mkdir()
            (folder / "train.py").write_text(script[host])
            there = {**sue, "DETCTL_COORDINATOR": deployment.network.address(host)}
            command = ("record", "--join", audit_id, "--machine", host, "--", *TORCHRUN, "train.py")
            done = deployment.detctl(*command, host=host, cwd=folder, env=there)
            assert done.returncode == 0 and "2 rank(s)" in done.stderr, done.stdout + done.stderr
        verdict = deployment.detctl("audit", "--attach", audit_id, "--json", env=sue)
        assert verdict.returncode == exit_code, verdict.stdout + verdict.stderr
        assert json.loads(verdict.stdout)["outcome"] == outcome
