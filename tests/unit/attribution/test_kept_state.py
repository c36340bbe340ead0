"""What objects of a script keep, in a run that continues another: which of it was lost, and what the fix calls it."""

from __future__ import annotations

from typing import Any

import pytest
from detctl_coordinator.attribution.continuations.calls import LoadedFile, loaded_files
from detctl_coordinator.attribution.continuations.kept_state import compare_kept
from detctl_coordinator.attribution.continuations.restoration import Restoration
from detctl_coordinator.attribution.continuations.restoring_calls import calls_of
from detctl_coordinator.attribution.evidence.facts import Note
from detctl_coordinator.attribution.evidence.pair_evidence import RunFacts

from tests.support.memory_runs import MemoryRun, RunBuilder


def value(site: str, digest: str, kind: str = "number", **more: Any) -> dict[str, Any]:
    return {"site": site, "kind": kind, "digest": digest, "text": digest, **more}


def run(*notes: tuple[int, list[dict[str, Any]]]) -> MemoryRun:
    builder = RunBuilder(run_id="run").train()
    for number, (step, values) in enumerate(notes):
        builder.note("kept-state", "", step=step, first=number == 0, values=values)
    return builder.build()


FIRST = [value("Data.rng", "s0", "generator"), value("Trainer.level", "0"), value("Trainer.size", "64")]
WHOLE = run((0, FIRST), (5, [value("Data.rng", "s5", "generator"), value("Trainer.level", "2")]))


def test_what_changed_and_begins_again_is_lost_and_what_never_changes_is_not() -> None:
    found = compare_kept(WHOLE, run((0, FIRST)), 0, 5)
    assert [one.site for one in found.of("generator")] == ["Data.rng"]
    assert [(one.description, one.again) for one in found.of("number")] == [("Trainer.level is 0 instead of 2.", True)]
    assert not found.restored


def test_what_the_resumed_run_has_as_the_whole_one_is_restored() -> None:
    begin = [value("Data.rng", "s5", "generator"), value("Trainer.level", "1"), value("Trainer.size", "32")]
    found = compare_kept(WHOLE, run((0, begin)), 0, 5)
    assert found.restored == {"generator"}
    assert [(one.found.text, one.again) for one in found.of("number")] == [("1", False)]


def test_a_step_that_was_not_noted_shows_nothing() -> None:
    assert not compare_kept(WHOLE, run((0, FIRST)), 0, 4).lost
    assert not compare_kept(WHOLE, run(), 0, 5).lost
    assert not compare_kept(run(), run((0, FIRST)), 0, 5).lost


@pytest.mark.parametrize(
    ("state", "kind", "path", "of", "save", "restore"),
    [
        ("private", "generator", "fit.data.g", "torch.Generator", "fit.data.g.get_state()", "fit.data.g.set_state(…)"),
        ("private", "generator", "rng", "numpy.Generator", "rng.bit_generator.state", "rng.bit_generator.state = …"),
        ("private", "generator", "rng", "random.Random", "rng.getstate()", "rng.setstate(…)"),
        ("schedule", "schedule", "plan.best", "torch.ReduceLROnPlateau", "plan.state_dict()", "plan.load_state_dict(…)"),
        ("ema", "model", "averaged", "torch.Tensor", "averaged.state_dict()", "averaged.load_state_dict(…)"),
        ("ema", "model", "shadow['0.weight']", "torch.Tensor", "shadow", "shadow = …"),
        ("ema", "model", "t.callbacks[0].weights['net.0.weight']", "torch.Tensor", "t.callbacks[0].weights", "t.callbacks[0].weights = …"),
        ("script", "number", "plan.level", "builtins.float", "plan.level", "plan.level = …"),
    ],
)  # fmt: skip
def test_the_fix_names_the_object_of_the_script(
    state: Any, kind: str, path: str, of: str, save: str, restore: str
) -> None:
    first, changed = (value("x", digest, kind, path=path, type=of) for digest in ("a", "b"))
    lost = compare_kept(run((0, [first]), (5, [changed])), run((0, [first])), 0, 5)
    found = Restoration(lost={state: ""}, values={state: lost.of(kind)})
    assert [tuple(call.format("…") for call in row) for row in calls_of(state, found)] == [(save, restore)]


@pytest.mark.parametrize(
    ("line", "single"),
    [
        ('torch.save(self.model.state_dict(), folder / "model.bin")', True),
        ("torch.save(torch.get_rng_state(), path)", True),
        ("save_file(model.state_dict(), path)", True),
        ("torch.save(self.state_dict(), path)", False),
        ("torch.save(state, path)", False),
        ('torch.save({"net": net.state_dict()}, path)', False),
    ],
)
def test_a_line_that_saves_one_object_alone_has_no_room_for_more(line: str, single: bool) -> None:
    assert LoadedFile("file", "train.py:3", line, True).single is single


def test_files_of_checkpoints_are_compared_without_their_numbers() -> None:
    assert LoadedFile("file", "", "", False, path="{cwd}/ckpt/epoch12.pt").file == "epoch#.pt"


def test_copies_of_weights_within_the_training_restore_nothing() -> None:
    rows = [("weights", 0, 9), ("file", 0, 30), ("weights", 0, 31), ("weights", 4, 26)]
    notes = [
        Note("restored", "", {"what": what, "step": step, "file": "t.py", "line": line}) for what, step, line in rows
    ]
    found = loaded_files(RunFacts("b", "gpu1", {}, tuple(notes)))
    assert [call.where for call in found] == ["t.py:30", "t.py:31"]
