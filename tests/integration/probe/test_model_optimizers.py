"""Steps, stages and neutrality with torch's own optimizers and the ways people use them."""

from __future__ import annotations

from pathlib import Path

import pytest
from model_twins import LAYERS, PARAMETERS, per_step, train

LOOP = """
for x, y in batches(3):
    optimizer.zero_grad()
    loss = nn.CrossEntropyLoss()(model(x), y)
    loss.backward()
    optimizer.step()
weights(model)
"""


@pytest.mark.parametrize(
    ("optimizer", "state"),
    [
        ("SGD(model.parameters(), lr=0.1, momentum=0.9)", ["momentum_buffer"]),
        ("AdamW(model.parameters(), lr=0.01, foreach=True)", ["step", "exp_avg", "exp_avg_sq"]),
    ],
)
def test_a_plain_loop_has_every_stage_at_every_step(tmp_path: Path, optimizer: str, state: list[str]) -> None:
    run = train(tmp_path, f"model = net()\noptimizer = torch.optim.{optimizer}\n" + LOOP, twins=True)
    main = run.main
    assert main.steps == [(0, False), (1, False), (2, False)]
    assert main.sites("init", 0) == PARAMETERS
    assert main.sites("init", 1) == main.sites("init", 2) == []
    for step in range(3):
        assert main.sites("forward", step) == [*LAYERS, "root2"]
        assert main.sites("loss", step) == ["loss"]
        assert main.sites("backward", step) == PARAMETERS
        assert [site for site in main.sites("update", step) if site in PARAMETERS] == PARAMETERS
        for name in state:
            assert f"root1/0.weight.{name}" in main.sites("update", step)
        assert main.sites("update", step)[-1] == "group0.lr"
    (loss,) = main.of("loss", 0)
    assert loss.sketch is not None
    assert loss.sketch[2] == loss.sketch[3] == loss.sketch[4] > 0
    assert {record.phase for record in main.records} == {"train"}


def test_lbfgs_is_one_step_with_numbered_closures(tmp_path: Path) -> None:
    run = train(
        tmp_path,
        """
model = net().eval()
optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=3)
for x, y in batches(2):
    def closure():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        return loss
    optimizer.step(closure)
weights(model)
""",
    )
    main = run.main
    assert len(main.steps) == 2
    losses = main.of("loss", 0)
    assert len(losses) >= 2
    assert [record.micro for record in losses] == list(range(len(losses)))
    first = [record for record in main.of("backward", 0) if record.site == "root1/0.weight"]
    assert [record.occurrence for record in first] == list(range(len(losses)))
    assert len({record.digest for record in first}) == len(losses), "each closure's own gradients"
    assert any(site.startswith("root1/0.weight.old_dirs[0]") for site in main.sites("update", 0))


def test_gradient_accumulation_clipping_and_a_scheduler(tmp_path: Path) -> None:
    run = train(
        tmp_path,
        """
model = net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
for index, (x, y) in enumerate(batches(6)):
    (nn.functional.cross_entropy(model(x), y) / 2).backward()
    if index % 2:
        nn.utils.clip_grad_norm_(model.parameters(), 0.01)
        total = sum(float(p.grad.pow(2).sum()) for p in model.parameters()) ** 0.5
        assert total < 0.0101
        optimizer.step(); scheduler.step(); optimizer.zero_grad()
weights(model)
""",
    )
    main = run.main
    assert len(main.steps) == 3
    assert per_step(main, "loss") == [2, 2, 2]
    assert [record.micro for record in main.of("loss", 1)] == [0, 1]
    assert [record.occurrence for record in main.of("forward", 1) if record.site == "root1"] == [0, 1]
    assert per_step(main, "backward") == [4, 4, 4]
    rates = [record for record in main.of("update") if record.site == "group0.lr"]
    assert len({record.digest for record in rates}) == 3
    settings = [record.evidence for record in main.of("update") if record.site == "optimizer1/settings"]
    assert [one["options"][0]["lr"] for one in settings if one] == [0.1, 0.05, 0.025]
    (writer,) = [row for row in settings[2]["writers"] if "group0.lr" in row["settings"]] if settings[2] else [{}]
    assert (writer["by"], writer["scheduler"], writer["function"]) == ("scheduler", "StepLR", "<module>")


def test_two_optimizers_count_each(tmp_path: Path) -> None:
    run = train(
        tmp_path,
        """
torch.manual_seed(0)
maker, judge = nn.Linear(3, 8), nn.Linear(8, 1)
by_maker, by_judge = torch.optim.Adam(maker.parameters()), torch.optim.SGD(judge.parameters(), lr=0.1)
for x, _ in batches(2):
    fake = maker(x[:, :3])
    by_judge.zero_grad()
    (judge(x).mean() - judge(fake.detach()).mean()).backward()
    by_judge.step()
    by_maker.zero_grad()
    judge(fake).mean().backward()
    by_maker.step()
weights(maker, judge)
""",
    )
    main = run.main
    assert len(main.steps) == 4
    assert main.sites("init", 0) == ["root1/weight", "root1/bias", "root2/weight", "root2/bias"]
    assert main.sites("backward", 0) == ["root2/weight", "root2/bias"]
    assert main.sites("backward", 1) == ["root1/weight", "root1/bias"]
    assert main.sites("forward", 0) == ["root1", "root2", "root2"]
    assert main.sites("forward", 1) == ["root2"]


def test_a_subclass_that_calls_its_parent_and_a_wrapper_count_once(tmp_path: Path) -> None:
    run = train(
        tmp_path,
        """
class Careful(torch.optim.SGD):
    def step(self, closure=None):
        return super().step(closure)

class Lookahead(torch.optim.Optimizer):
    def __init__(self, inner):
        self.inner = inner
        super().__init__(inner.param_groups, {})
    def step(self, closure=None):
        self.inner.step(closure)
        self.inner.step()

torch.optim.SGD([torch.zeros(1)], lr=1.0)
model = net()
optimizer = Lookahead(Careful(model.parameters(), lr=0.1, momentum=0.9))
"""
        + LOOP,
    )
    assert len(run.main.steps) == 3
    assert per_step(run.main, "backward") == [4, 4, 4]


def test_without_an_optimizer_each_backward_is_a_step(tmp_path: Path) -> None:
    run = train(
        tmp_path,
        """
model = net()
loader = torch.utils.data.DataLoader(list(batches(3)), batch_size=None)
for x, y in loader:
    model.zero_grad()
    nn.functional.cross_entropy(model(x), y).backward()
    with torch.no_grad():
        for p in model.parameters():
            p -= 0.1 * p.grad
weights(model)
""",
    )
    main = run.main
    assert len(main.steps) == 3
    for step in range(3):
        assert main.sites("forward", step) == LAYERS
        assert main.sites("backward", step) == PARAMETERS
        assert main.sites("update", step) == PARAMETERS
    before = [record.digest for record in main.of("init")]
    after = [[record.digest for record in main.of("update", step)] for step in range(3)]
    assert before != after[0] != after[1] != after[2]


def test_manual_training_by_autograd_grad(tmp_path: Path) -> None:
    run = train(
        tmp_path,
        """
model = net()
for x, y in batches(3):
    grads = torch.autograd.grad(outputs=nn.functional.cross_entropy(model(x), y), inputs=list(model.parameters()))
    with torch.no_grad():
        for p, g in zip(model.parameters(), grads):
            p -= 0.1 * g
weights(model)
""",
    )
    assert len(run.main.steps) == 3
    assert run.main.sites("loss", 0) == ["grad"]
    assert run.main.sites("backward", 2) == PARAMETERS
    assert run.main.sites("update", 2) == PARAMETERS


def test_parameters_that_no_forward_has_shown_are_named_by_group(tmp_path: Path) -> None:
    run = train(
        tmp_path,
        """
torch.manual_seed(0)
a, b = torch.randn(8, 4, requires_grad=True), torch.zeros(4, requires_grad=True)
embedding = nn.Embedding(10, 4, sparse=True)
optimizer = torch.optim.SGD([{"params": [a]}, {"params": [b], "lr": 0.5}, {"params": embedding.parameters()}], lr=0.1)
for x, y in batches(2):
    optimizer.zero_grad()
    nn.functional.cross_entropy(x @ a + b + nn.functional.embedding(y, embedding.weight, sparse=True), y).backward()
    optimizer.step()
holder = nn.ParameterDict({"a": nn.Parameter(a), "b": nn.Parameter(b), "e": embedding.weight})
weights(holder)
""",
    )
    main = run.main
    assert main.sites("init", 0) == ["group0.0", "group1.0", "group2.0"]
    assert main.sites("backward", 1) == ["group0.0", "group1.0", "group2.0[indices]", "group2.0[values]"]
    assert [site for site in main.sites("update", 1) if site.endswith(".lr")] == ["group0.lr", "group1.lr", "group2.lr"]


def test_restored_state_is_recorded_before_the_step_with_the_lines_that_wrote_it(tmp_path: Path) -> None:
    run = train(
        tmp_path,
        """
def make(model):
    return torch.optim.SGD(list(set(model.parameters())), lr=0.1, momentum=0.9)

def steps(model, optimizer, count):
    for x, y in batches(count):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

model = net().eval(); optimizer = make(model)
steps(model, optimizer, 2)
saved = model.state_dict(), optimizer.state_dict()
model = net().eval(); model.load_state_dict(saved[0])
optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
optimizer.load_state_dict(torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9).state_dict())
for group in optimizer.param_groups:
    group["momentum"] = 0.8
steps(model, optimizer, 2)
weights(model)
""",
    )
    main = run.main
    assert not [row for row in main.seal_row("unobserved") if row["stage"] == "update"]
    first, _, third, last = [record for record in main.of("update") if record.site.endswith("/settings")]
    assert (first.site, third.site) == ("optimizer1/settings", "optimizer2/settings")
    assert third.evidence and last.evidence == {"since": 2, "whole": 2}
    writers = {name: row for row in third.evidence["writers"] for name in row["settings"]}
    assert writers["group0.lr"]["by"] == "load_state_dict"
    assert writers["group0.momentum"]["by"] == "assignment"
    assert writers["group0.momentum"]["line"] == writers["group0.lr"]["line"] + 2
    assert not [site for site in main.sites("update", 2) if "/state/" in site], "a state that is empty is not made"
    restored = {note["what"]: note["line"] for note in main.notes_of("restored")}
    assert restored["optimizer"] == restored["model"] + 2
    assert [note["restored"] is None for note in main.notes_of("optimizer")] == [True, False]
    (order, *_) = main.notes_of("parameter-order")
    assert (order["elements"], order["expression"], order["function"]) == ("tensor", "set(model.parameters())", "make")
