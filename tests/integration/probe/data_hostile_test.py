"""Loaders that strain the observer: what the program sees is, to the letter, what it sees without the probe."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from collector import Process, collect, of_the_probe, without_probe

pytest.importorskip("torch")

SCRIPTS = Path(__file__).parent / "data_scripts"
DATA_STAGES = ("order", "sample", "batch")


@dataclass
class Scenes:
    """Both runs of hostile.py: `bare` and `lines` by scene, and the main process that was watched."""

    workers: int
    uninstrumented: dict[str, str]
    lines: dict[str, str]
    process: Process
    stderr: str

    def step(self, scene: str) -> int:
        return list(self.uninstrumented).index(scene)

    def records(self, scene: str, stage: str) -> list[object]:
        return list(self.process.of(stage, self.step(scene)))


def by_scene(text: str) -> dict[str, str]:
    return {line.split(" ", 1)[0]: line.split(" ", 1)[1] for line in text.splitlines()}


def watch(workers: int) -> Scenes:
    command = [sys.executable, "hostile.py", str(workers)]
    uninstrumented = without_probe(command, cwd=SCRIPTS)
    run = collect(command, cwd=SCRIPTS)
    assert run.returncode == uninstrumented.returncode == 0, run.stderr
    return Scenes(workers, by_scene(uninstrumented.stdout), by_scene(run.stdout), run.main, run.stderr)


@pytest.fixture(scope="module")
def alone() -> Scenes:
    return watch(0)


@pytest.fixture(scope="module")
def helped() -> Scenes:
    return watch(2)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["alone", "helped"])
def test_every_scene_prints_what_it_prints_without_the_probe(request: pytest.FixtureRequest, name: str) -> None:
    scenes: Scenes = request.getfixturevalue(name)
    assert scenes.lines == scenes.uninstrumented
    assert of_the_probe(scenes.stderr) == []
    assert not scenes.process.notes_of("observer-failed")


@pytest.mark.slow
def test_workers_change_no_record_where_nothing_is_random(alone: Scenes, helped: Scenes) -> None:
    # Streams are split among workers, and a failing worker_init_fn has no part in the main process.
    different = {"stream-drop", "raises-init", "dies-exit", "dies-kill", "hangs", "own-iterator", "lazy", "unpicklable"}
    for stage in DATA_STAGES:
        for scene in alone.uninstrumented:
            if scene in different or scene.startswith("stream"):
                continue
            # Numbers aside: a loader whose worker fails before its first batch takes none, and would have taken one alone.
            one, two = (
                [
                    (re.sub(r"loader\d+", "loader", str(record[4])), *record[5:])
                    for record in scenes.process.compared()
                    if record[:3:2] == (stage, scenes.step(scene))
                ]
                for scenes in (alone, helped)
            )
            assert one == two, (stage, scene)


@pytest.mark.slow
def test_paths_of_nested_values_are_sites(alone: Scenes) -> None:
    sites = alone.process.sites("batch", alone.step("nested"))
    assert sites[:7] == ["image", "pair.left", "pair.right", "meta.id", "meta.none", "meta.list.0", "meta.list.1"]
    ragged = [r for r in alone.process.of("batch", alone.step("collate")) if r.site.startswith("extra.ragged")]
    assert [(record.shape, len(record.rows or ())) for record in ragged] == [((5,), 5), ((5,), 5), ((2,), 2)]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["alone", "helped"])
def test_batches_are_numbered_over_the_life_of_a_loader(request: pytest.FixtureRequest, name: str) -> None:
    scenes: Scenes = request.getfixturevalue(name)
    orders = scenes.process.of("order", scenes.step("persistent"))
    assert [record.occurrence for record in orders] == list(range(6))
    again = scenes.process.of("order", scenes.step("broken-off"))
    assert [record.occurrence for record in again] == list(range(8))
    mixed = scenes.process.of("order", scenes.step("interleaved"))
    assert [record.occurrence for record in mixed] == [0, 0, 1, 1, 2]
    assert len({record.site for record in mixed}) == 2


@pytest.mark.slow
def test_indices_are_reported_though_a_dataset_eats_its_list(alone: Scenes) -> None:
    first = alone.process.of("order", alone.step("eats"))[0]
    assert first.evidence["first"] == [0, 1, 2, 3]
    assert len(first.rows or ()) == 4


@pytest.mark.slow
def test_what_has_no_digest_is_reported(alone: Scenes) -> None:
    assert alone.process.seal is not None
    reported = {(row["stage"], row["what"].partition("@")[0]): row["why"] for row in alone.process.seal["unobserved"]}
    assert reported[("batch", "sparse")] == "its layout is torch.sparse_coo"
    assert "only its type" in reported[("batch", "object")]
    assert reported[("batch", "loop.0")] == "it holds itself"
    assert any(stage == "order" and "iterator" in why for (stage, _), why in reported.items())


@pytest.mark.slow
def test_a_loop_that_is_not_torchs_is_reported(helped: Scenes) -> None:
    assert [note["text"] for note in helped.process.notes_of("foreign-worker")]
    assert not helped.records("own-iterator", "batch")


@pytest.mark.slow
def test_after_a_failed_batch_nothing_of_it_is_left(helped: Scenes) -> None:
    taken = [record for record in helped.process.of("batch", helped.step("goes-on")) if record.site.startswith("1")]
    assert [len(record.rows or ()) for record in taken] == [2] * 5
