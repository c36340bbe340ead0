"""GradScaler, autocast and bf16 on the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest
from model_twins import LAYERS, PARAMETERS, train


def test_a_step_that_the_scaler_skips_is_a_skipped_step(tmp_path: Path) -> None:
    run = train(
        tmp_path,
        """
model = net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
scaler = torch.amp.GradScaler("cpu", init_scale=16.0)
for index, (x, y) in enumerate(batches(4)):
    optimizer.zero_grad()
    with torch.autocast("cpu", dtype=torch.float16):
        loss = nn.functional.cross_entropy(model(x), y)
    if index == 1:
        loss = loss * float("inf")
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    scaler.step(optimizer)
    scaler.update()
weights(model)
""",
    )
    main = run.main
    assert main.steps == [(0, False), (1, True), (2, False), (3, False)]
    assert main.sites("update", 1) == ["skipped"]
    assert main.sites("backward", 1) == PARAMETERS
    scales = [record.evidence["scale"] for record in main.of("loss") if record.evidence]
    assert scales == [16.0, 16.0, 8.0, 8.0]
    # Gradients are unscaled when the step sees them.
    assert main.of("loss", 0)[0].sketch is not None and main.of("loss", 0)[0].sketch[2] > 16
    assert {record.dtype for record in main.of("forward", 0) if record.site == "root1"} == {"float16"}


@pytest.mark.parametrize("how", ["autocast", "weights"])
def test_bf16(tmp_path: Path, how: str) -> None:
    run = train(
        tmp_path,
        f"""
import contextlib
model = net()
if {how == "weights"}:
    model = model.to(torch.bfloat16)
optimizer = torch.optim.AdamW(model.parameters())
for x, y in batches(2):
    optimizer.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16) if {how == "autocast"} else contextlib.nullcontext():
        loss = nn.functional.cross_entropy(model(x if {how == "autocast"} else x.bfloat16()), y)
    loss.backward()
    optimizer.step()
weights(model)
""",
    )
    main = run.main
    assert main.sites("forward", 1) == LAYERS
    assert {record.dtype for record in main.of("forward") if record.site == "root1"} == {"bfloat16"}
    stored = "bfloat16" if how == "weights" else "float32"
    assert {record.dtype for record in main.of("init")} == {stored}
    assert {record.dtype for record in main.of("backward")} == {stored}


def test_a_disabled_scaler_and_one_around_two_optimizers(tmp_path: Path) -> None:
    run = train(
        tmp_path,
        """
model, other = net(), nn.Linear(8, 4)
first, second = torch.optim.SGD(model.parameters(), lr=0.1), torch.optim.Adam(other.parameters())
off, on = torch.amp.GradScaler("cpu", enabled=False), torch.amp.GradScaler("cpu", init_scale=4.0)
for x, y in batches(2):
    first.zero_grad(); second.zero_grad()
    off.scale(nn.functional.cross_entropy(model(x), y)).backward()
    off.step(first); off.update()
    on.scale(nn.functional.cross_entropy(other(x), y)).backward()
    on.step(second); on.update()
weights(model, other)
""",
    )
    assert run.main.steps == [(0, False), (1, False), (2, False), (3, False)]
    assert run.main.sites("backward", 1) == ["root2/weight", "root2/bias"]
