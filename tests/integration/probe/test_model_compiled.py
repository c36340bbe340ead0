"""torch.compile: the same weights, the boundary observed, the interior reported; and the other places where a hook steps aside."""

from __future__ import annotations

from pathlib import Path

import pytest
from model_twins import LAYERS, PARAMETERS, per_step, train

LOOP = """
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
for x, y in batches(3):
    optimizer.zero_grad()
    nn.functional.cross_entropy(compiled(x), y).backward()
    optimizer.step()
weights(model)
if "torch._dynamo" in sys.modules:
    from torch._dynamo.utils import counters
    print("weights graphs", dict(counters["stats"]).get("unique_graphs"), dict(counters["graph_break"]))
"""


@pytest.mark.parametrize(("backend", "how"), [("inductor", "function"), ("aot_eager", "method")])
def test_a_compiled_model_keeps_its_weights_and_shows_its_boundary(tmp_path: Path, backend: str, how: str) -> None:
    make = {
        "function": f"compiled = torch.compile(model, backend='{backend}')",
        "method": f"model.compile(backend='{backend}'); compiled = model",
    }[how]
    body = f"import warnings; warnings.simplefilter('error', UserWarning)\nmodel = net()\n{make}\n" + LOOP
    # One of them in a Python of its own: a warm one has imported the compiler before the probe.
    run = train(tmp_path, body, start_warm=backend != "inductor")
    main = run.main
    assert main.seal is not None
    assert len(main.steps) == 3
    for step in range(3):
        assert main.sites("forward", step) == ["root1"]
        assert main.sites("backward", step) == PARAMETERS
    assert main.sites("init", 0) == PARAMETERS
    assert "compiled regions" in [row["what"] for row in main.seal["unobserved"] if row["stage"] == "forward"]


def test_a_graph_break_leaves_the_broken_part_observed(tmp_path: Path) -> None:
    run = train(
        tmp_path,
        """
class Broken(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 4)
    def forward(self, x):
        x = torch.relu(self.first(x))
        torch._dynamo.graph_break()
        return self.second(x)
torch.manual_seed(0)
model = nn.Sequential(Broken(), nn.Linear(4, 4))
compiled = torch.compile(model, backend="aot_eager")
"""
        + LOOP,
    )
    main = run.main
    assert len(main.steps) == 3
    for step in range(3):
        assert "root1" in main.sites("forward", step)
        assert len(main.sites("backward", step)) == 6
    assert main.sites("forward", 1) == main.sites("forward", 2)


def test_a_compiled_training_step_and_a_compiled_loss(tmp_path: Path) -> None:
    run = train(
        tmp_path,
        """
model = net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
criterion = torch.compile(nn.functional.cross_entropy, backend="aot_eager")
def train_step(x, y):
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    loss.backward()
    return loss.detach()
compiled = torch.compile(train_step, backend="aot_eager")
for x, y in batches(3):
    compiled(x, y)
    optimizer.step()
weights(model)
""",
    )
    main = run.main
    assert len(main.steps) == 3
    assert per_step(main, "backward") == [4, 4, 4]
    assert any(row["stage"] == "forward" for row in main.seal["unobserved"]) if main.seal else False


def test_checkpointing_records_the_first_forward_alone(tmp_path: Path) -> None:
    for reentrant in (False, True):
        place = tmp_path / str(reentrant)
        place.mkdir()
        run = train(
            place,
            f"""
from torch.utils.checkpoint import checkpoint
class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = net()
        self.head = nn.Linear(4, 4)
    def forward(self, x):
        return self.head(checkpoint(self.inner, x, use_reentrant={reentrant}))
model = Block()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for x, y in batches(2):
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(x.requires_grad_()), y).backward()
    optimizer.step()
weights(model)
""",
        )
        expected = [f"root1/inner.{n}" for n in range(4)] + ["root1/inner", "root1/head", "root1"]
        for step in range(2):
            assert run.main.sites("forward", step) == expected
            assert run.main.sites("loss", step) == ["loss"]
        assert {record.phase for record in run.main.records} == {"train"}


def test_tracing_scripting_functorch_meta_and_inplace(tmp_path: Path) -> None:
    run = train(
        tmp_path,
        """
model = net().eval()
x0, y0 = next(batches(1))
traced = torch.jit.trace(nn.Linear(8, 4), x0)
scripted = torch.jit.script(nn.Linear(8, 4))
parameters = dict(model.named_parameters())
def f(p, x):
    return torch.func.functional_call(model, p, (x,)).sum()
total = torch.func.vmap(torch.func.grad(f), (None, 0))(parameters, x0)
with torch.device("meta"):
    nn.Linear(8, 4)(torch.empty(2, 8))
from torch._subclasses.fake_tensor import FakeTensorMode
with FakeTensorMode():
    nn.Linear(8, 4)(torch.empty(2, 8))
with torch.inference_mode():
    model(x0)
try:
    model(torch.zeros(3, 3))
except RuntimeError:
    pass
from torch.utils.flop_counter import FlopCounterMode
with FlopCounterMode(display=False) as flops:
    model(x0)
print("weights flops", flops.get_total_flops())
class Inplace(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(8, 8)
        self.act = nn.ReLU(inplace=True)
        self.norm = nn.BatchNorm1d(8)
    def forward(self, x):
        return self.norm((self.act(self.a(x)) * 2)[:3].add_(1)), {"inner": x.mean()}
torch.manual_seed(2)
model = Inplace()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for x, y in batches(2):
    optimizer.zero_grad()
    out, more = model(x)
    (nn.functional.cross_entropy(out, y[:3]) + traced(x).sum() + scripted(x).sum()).backward()
    optimizer.step()
weights(model)
""",
    )
    main = run.main
    assert len(main.steps) == 2
    assert main.sites("forward", 1) == [
        *(f"root3{part}" for part in ("/a", "/act", "/norm", "[0]", "[1][inner]")),
        "root4",
        "root5",
    ]
    assert any(site.endswith("norm.running_mean") for site in main.sites("update", 1))
    assert main.seal is not None
    assert any("torch.func" in row["what"] for row in main.seal["unobserved"])
    assert {record.phase for record in main.of("forward", 1)} == {"train"}


def test_evaluation_is_a_phase_of_its_own(tmp_path: Path) -> None:
    run = train(
        tmp_path,
        """
model = net()
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for x, y in batches(2):
    model.train()
    optimizer.zero_grad()
    criterion(model(x), y).backward()
    optimizer.step()
    model.eval()
    with torch.no_grad():
        criterion(model(x), y)
weights(model)
""",
    )
    main = run.main
    phases = [(record.phase, record.site) for record in main.of("forward", 1)]
    every = [*LAYERS, "root2"]
    # Step 1 begins when step 0 ended: with the evaluation after it.
    assert phases == [("eval", site) for site in every] + [("train", site) for site in every]
    assert {record.phase for stage in ("init", "loss", "backward", "update") for record in main.of(stage)} == {"train"}
