"""What the user's own objects keep from step to step is noted before the first step, and after files were saved as far as it changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from model_twins import train

BODY = """
import queue, random, types
from collections import deque
import numpy as np
from torch.optim.swa_utils import AveragedModel


class Points(torch.utils.data.Dataset):
    def __init__(self):
        self.noise = torch.Generator().manual_seed(1)
        self.moves = np.random.default_rng(2)
        self.old = np.random.RandomState(3)
        self.table = torch.ones(4, 3)

    def __len__(self):
        return 16

    def __getitem__(self, i):
        x = torch.rand(3, generator=self.noise) + self.moves.random() + self.old.rand()
        return x.float(), i % 2


class Counting(torch.utils.data.Sampler):
    rounds = 0

    def __init__(self):
        self.rounds = 0

    def __len__(self):
        return 16

    def __iter__(self):
        self.rounds += 1
        return iter(range(16))


class Trainer:
    def __init__(self):
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
        self.average = AveragedModel(self.model)
        self.shadow = {name: p.detach().clone() for name, p in self.model.named_parameters()}
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
        self.plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(self.optimizer)
        self.loader = torch.utils.data.DataLoader(Points(), batch_size=8, sampler=Counting())
        self.recent = deque(maxlen=5)
        self.level = 0.5
        self.fixed = 3
        self.progress = types.SimpleNamespace(done=0)
        self.package = queue.Queue()  # an object of a package that averages weights
        self.package.shadow_params = [p.detach().clone() for p in self.model.parameters()]

    @property
    def never_read(self):
        raise AssertionError("a property is the user's code")

    def endless(self):
        inner = np.random.default_rng(6)
        while True:
            yield inner.random()

    def fit(self):
        numbers = self.endless()
        own = random.Random(4)
        for epoch in range(2):
            for x, y in self.loader:
                own.random(), next(numbers)
                self.optimizer.zero_grad()
                loss = nn.functional.cross_entropy(self.model(x), y)
                loss.backward()
                self.optimizer.step()
                self.average.update_parameters(self.model)
                for name, p in self.model.named_parameters():
                    self.shadow[name].lerp_(p.detach(), 0.1)
                self.recent.append(loss.item())
            self.plateau.step(loss.item())
            self.level += 1
            self.progress.done += 1
            for slow, p in zip(self.package.shadow_params, self.model.parameters()):
                slow.lerp_(p.detach(), 0.1)
            torch.save(self.model.state_dict(), "last.pt")


trainer = Trainer()
trainer.fit()
weights(trainer.model)
"""


def notes(tmp_path: Path) -> list[dict[str, Any]]:
    return train(tmp_path, BODY).main.notes_of("kept-state")


def test_generators_averages_schedules_and_counters_are_found_and_only_changes_follow(tmp_path: Path) -> None:
    first, second = notes(tmp_path)
    assert (first["step"], first["first"], second["step"], second["first"]) == (0, True, 2, False)
    begin = {row["site"]: row for row in first["values"]}
    assert {row["site"]: row["kind"] for row in first["values"] if row["kind"] in ("generator", "sampler")} == {
        "Points.noise": "generator",
        "Points.moves": "generator",
        "Points.old": "generator",
        "fit.own": "generator",
        "endless.inner": "generator",
        "Counting.rounds": "sampler",
    }
    assert begin["Points.noise"]["path"] == "trainer.loader.dataset.noise"
    assert begin["Points.noise"]["type"] == "torch.Generator"
    assert begin["Points.noise"]["line"] + 1 == begin["Points.moves"]["line"]
    assert begin["Trainer.shadow[0.weight]"]["kind"] == "model"
    assert begin["Trainer.average[module.0.weight]"]["kind"] == "model"
    assert begin["ReduceLROnPlateau.num_bad_epochs"]["kind"] == "schedule"
    assert begin["Points.table"]["kind"] == "tensor"
    assert not any("Trainer.model" in site or "Trainer.optimizer" in site for site in begin)
    changed = {row["site"]: row for row in second["values"]}
    assert set(changed) >= {
        "Points.noise", "Points.moves", "Points.old", "fit.own", "endless.inner", "Counting.rounds", "Trainer.recent", "Trainer.level",
        "Trainer.shadow[0.weight]", "Trainer.average[module.0.weight]", "ReduceLROnPlateau.last_epoch",
        "Queue.shadow_params[0]", "SimpleNamespace.done",
    }  # fmt: skip
    assert not {"Points.table", "Trainer.fixed"} & set(changed)
    assert (changed["Trainer.level"]["text"], changed["Trainer.recent"]["text"]) == ("1.5", "2 items")


def test_variables_stay_as_they_are_and_nothing_is_kept_alive(tmp_path: Path) -> None:
    run = train(
        tmp_path,
        """
import gc, weakref

def fit(model, optimizer):
    mine = torch.Generator().manual_seed(3)
    alive = []
    for x, y in batches(3):
        optimizer.zero_grad()
        out = model(x)
        loss = nn.functional.cross_entropy(out, y) + torch.rand(1, generator=mine)
        loss.backward()
        optimizer.step()
        alive.append(weakref.ref(out))
        torch.save({}, "mark.pt")
    del out, loss
    gc.collect()
    assert [one() for one in alive] == [None, None, None]

def fit_with_locals(model, optimizer, count=2):
    settings = locals()
    for x, y in batches(count):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    assert sorted(settings) == ["count", "model", "optimizer"]

model = net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
fit(model, optimizer)
fit_with_locals(model, optimizer)
weights(model)
""",
    )
    first, *rest = run.main.notes_of("kept-state")
    assert [row["site"] for row in first["values"] if row["kind"] == "generator"] == ["fit.mine"]
    assert [row["site"] for row in rest[0]["values"] if row["kind"] == "generator"] == ["fit.mine"]


@pytest.mark.parametrize(("schedule_first", "by"), [(True, "assignment"), (False, "scheduler")])
def test_a_rate_that_is_set_after_the_optimizer_was_restored(tmp_path: Path, schedule_first: bool, by: str) -> None:
    """A scheduler writes the rate when it is made. One that was made before the restoring did not write it after that."""
    schedule = "schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 0.5, 1.0, 4)\n"
    load = "optimizer.load_state_dict(optimizer.state_dict())\n"
    assign = "for group in optimizer.param_groups:\n    group['lr'] = 0.03\n"
    run = train(
        tmp_path,
        "model = net()\noptimizer = torch.optim.SGD(model.parameters(), lr=0.1)\n"
        + (schedule + load + assign if schedule_first else load + schedule)
        + """
for x, y in batches(1):
    nn.functional.cross_entropy(model(x), y).backward()
    optimizer.step()
weights(model)
""",
    )
    (settings,) = [record for record in run.main.of("update") if record.site.endswith("/settings")]
    assert settings.evidence is not None
    assert {name: row["by"] for row in settings.evidence["writers"] for name in row["settings"]}["group0.lr"] == by
