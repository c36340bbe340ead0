"""Level op: every operation with what went in, in the stage, module and line where it ran; and nothing changed by it."""

from __future__ import annotations

from pathlib import Path

from model_twins import train

from tests.support.probe_records import Record

LOOP = """
model = net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
for step, (x, y) in enumerate(batches(4)):
    x = x * 2
    logits = model(x)
    loss = nn.functional.cross_entropy(logits, y) * 0.5
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 0.1)
    optimizer.step()
weights(model)
"""


def operations(records: list[Record], stage: str, step: int) -> dict[str, Record]:
    """Site -> the last record of it."""
    return {r.site: r for r in records if r.stage == stage and r.step == step and "in" in (r.evidence or {})}


def test_each_stage_has_its_operations_with_module_and_line(tmp_path: Path) -> None:
    run = train(tmp_path, LOOP, level="op", operations=True)
    text = (tmp_path / "a" / "train.py").read_text().splitlines()
    records = run.main.records

    def line_of(record: Record) -> str:
        file, _, number = (record.evidence or {})["at"].partition(":")
        assert file == "{cwd}/train.py"
        return text[int(number) - 1].strip()

    init = operations(records, "init", 0)
    uniform = next(record for site, record in init.items() if "uniform_" in site)
    assert [one[:4] for one in (uniform.evidence or {})["in"]] == ["rng:"], "memory that it overwrites is not an input"
    assert line_of(init["loop:aten.mul.Tensor"]) == "x = x * 2", "what comes before the first forward"
    assert line_of(operations(records, "forward", 3)["loop:aten.mul.Tensor"]) == "x = x * 2"
    for step in (0, 3):
        forward = operations(records, "forward", step)
        assert line_of(forward["root1/0:aten.addmm.default"]) == "logits = model(x)"
        assert len((forward["root1/0:aten.addmm.default"].evidence or {})["in"]) == 3
        (dropout,) = [r for site, r in forward.items() if site.startswith("root1/2:") and "rng:" in str(r.evidence)]
        assert dropout.sketch is not None or dropout.dtype == "bool"
        loss = operations(records, "loss", step)
        assert any("nll_loss" in site for site in loss)
        backward = operations(records, "backward", step)
        assert line_of(backward["root1/0:aten.mm.default"]) == "logits = model(x)", "the line of the forward operation"
        assert any(site.startswith("loop:") for site in backward), "clipping comes after backward"
        update = operations(records, "update", step)
        assert update and all(site.startswith("optimizer:") for site in update)
        assert not any("detach" in r.site or ":aten.t." in r.site or "view" in r.site for r in records)


def test_a_window_has_operations_of_its_steps_alone(tmp_path: Path) -> None:
    run = train(tmp_path, LOOP, level="op", operations=True, window=[1, 2])
    assert {r.step for r in run.main.records if "in" in (r.evidence or {})} == {1}
    assert not operations(run.main.records, "init", 0)


def test_compiled_checkpointed_and_sparse_training_is_left_as_it_is(tmp_path: Path) -> None:
    run = train(
        tmp_path,
        """
import torch.utils.checkpoint as checkpoint
torch.manual_seed(0)
model = nn.ModuleList([nn.Embedding(16, 8, sparse=True), nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.Linear(8, 4)])
compiled = torch.compile(model[2], backend="aot_eager")
sparse = torch.optim.SparseAdam(model[0].parameters())
dense = torch.optim.AdamW([*model[1].parameters(), *model[2].parameters()])
for step in range(3):
    words = torch.randint(16, (3, 5))
    hidden = checkpoint.checkpoint(model[1], model[0](words), use_reentrant=False)
    with torch.autocast("cpu", torch.bfloat16):
        loss = compiled(hidden).float().square().mean()
    loss.backward()
    sparse.step(), dense.step()
    sparse.zero_grad(), dense.zero_grad()
    model.eval()
    with torch.no_grad():
        model[1](model[0](words))  # the fused path of evaluation
    model.train()
weights(model)
""",
        level="op",
        operations=True,
    )
    sites = {r.site for r in run.main.records if "in" in (r.evidence or {})}
    assert any("native_multi_head" in site or "transformer_encoder_layer_fwd" in site for site in sites), (
        "the fast path"
    )
    assert any("[values]" in site for site in sites), "a sparse gradient by its parts"


def test_a_users_own_mode_keeps_ours_away(tmp_path: Path) -> None:
    run = train(
        tmp_path,
        """
from torch.utils._python_dispatch import TorchDispatchMode
class Count(TorchDispatchMode):
    seen = 0
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        Count.seen += 1
        return func(*args, **(kwargs or {}))
model = net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
with Count():
    for x, y in batches(3):
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
with Count():
    model(x)
weights(model)
print("weights", Count.seen)
""",
        level="op",
        operations=True,
        window=[1, None],
    )
    assert not [r for r in run.main.records if "in" in (r.evidence or {})]
    assert run.main.seal is not None
    assert "another dispatch mode" in str(run.main.seal["unobserved"])
