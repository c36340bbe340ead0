"""A training whose digests come a step later, as from a GPU: Triton's interpreter stands for the device."""

from __future__ import annotations

import json

import pytest

SCRIPT = """
import os, torch
if "DEVICE" in os.environ:
    from detctl_probe.digest import device_digests, devices
    device_digests.interpreted = True
    class Late(devices.Done):
        asked = 0
        def query(self):  # the device is a step behind
            self.asked += 1
            return self.asked > 1
    devices.Host.sent = lambda self: Late()
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
optimizer = torch.optim.AdamW(model.parameters())
for step in range(4):
    x = torch.randn(16, 8)
    if step == 2 and "FAULT" in os.environ:
        x[3, 3] += 1e-6
    model(x).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()
"""


@pytest.mark.parametrize("level", ["module", pytest.param("step", marks=pytest.mark.soak)])
def test_records_that_come_later_are_the_same(deployment, level) -> None:
    pytest.importorskip("triton", reason="no Triton beside this torch")
    (deployment.folder / "train.py").write_text(SCRIPT)
    deployment.environ["TRITON_INTERPRET"] = "1"
    for name, more in (("at-once", None), ("later", "DEVICE"), ("faulty", "FAULT")):
        if more:
            deployment.environ[more] = "1"
        ran = deployment.run("record", "-o", name, "--level", level, "--", "python", "train.py")
        assert ran.returncode == 0 and "Triton cannot be used" not in ran.stderr, ran.stderr

    same = deployment.run("compare", "at-once", "later", "--json")
    verdict = json.loads(same.stdout)
    assert (same.returncode, verdict["outcome"]) == (0, "identical"), verdict
    faulty = json.loads(deployment.run("compare", "at-once", "faulty", "--json").stdout)
    assert (faulty["first_divergence"]["stage"], faulty["first_divergence"]["step"]) == ("batch", 2)
