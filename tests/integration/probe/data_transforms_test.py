"""torchvision's transforms, v1 and v2, nested and random, in loaders and in the open."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from collector import Process, collect, of_the_probe, without_probe

pytest.importorskip("torchvision")
Image = pytest.importorskip("PIL.Image")

SCRIPTS = Path(__file__).parent / "data_scripts"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for number in range(8):
        below = folder / "ab"[number % 2]
        below.mkdir(exist_ok=True)
        pixels = np.random.RandomState(number).randint(0, 255, (14, 14, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(below / f"{number}.png")
    return folder


@pytest.fixture(scope="module", params=["0", "2"])
def watched(request: pytest.FixtureRequest, images: Path) -> Process:
    """The main process under the probe, after the check that the script printed what it prints without."""
    command = [sys.executable, "transforms.py", request.param, str(images)]
    uninstrumented = without_probe(command, cwd=SCRIPTS)
    run = collect(command, cwd=SCRIPTS, paths={"data": str(images)})
    assert (
        (run.returncode, run.stdout) == (uninstrumented.returncode, uninstrumented.stdout) == (0, uninstrumented.stdout)
    ), run.stderr
    assert of_the_probe(run.stderr) == []
    return run.main


def rows(process: Process, step: int, occurrence: int = 0) -> dict[str, int]:
    """Transform site -> number of rows, of one batch."""
    return {
        record.site.partition("@")[0]: len(record.rows or ())
        for record in process.of("sample", step)
        if record.site.startswith("transform/") and record.occurrence == occurrence
    }


def test_each_v1_transform_is_a_site_with_a_row_a_sample(watched: Process) -> None:
    sites = rows(watched, 0)
    for site in (
        "transform/0.Resize",
        "transform/1.Compose/0.RandomCrop",
        "transform/1.Compose/1.RandomHorizontalFlip",
        "transform/1.Compose",
        "transform/2.RandomApply",
        "transform/3.RandomChoice",
        "transform/4.Jolt",
        "transform/5.ToTensor",
        "transform/6.Lambda",
        "transform/7.lambda",
    ):
        assert sites[site] == 4


def test_what_a_random_choice_chose_is_reported(watched: Process) -> None:
    chosen = {site: n for site, n in rows(watched, 0).items() if site.startswith("transform/3.RandomChoice/")}
    assert set(chosen) <= {"transform/3.RandomChoice/CenterCrop", "transform/3.RandomChoice/RandomCrop"}
    assert sum(chosen.values()) == 4


def test_v2_transforms_are_sites_too(watched: Process) -> None:
    sites = rows(watched, 1)
    assert (
        sites["transform/0.ToImage"] == sites["transform/1.Compose/0.RandomCrop"] == sites["transform/4.ToDtype"] == 4
    )


def test_dictionaries_have_a_site_a_key(watched: Process) -> None:
    sites = rows(watched, 2)
    assert sites["transform/1.RandomCrop/image"] == sites["transform/1.RandomCrop/box"] == 4
    assert sites["transform/GaussianBlur"] == 4


def test_a_transform_by_itself_has_no_number(watched: Process) -> None:
    assert rows(watched, 3) == {"transform/ToTensor": 4}


def test_outside_a_loader_each_call_is_a_record(watched: Process) -> None:
    resized = [record for record in watched.of("sample", 4) if record.site == "transform/0.Resize"]
    assert [record.occurrence for record in resized] == list(range(8))
    assert {record.shape for record in resized} == {(12, 12)}
    assert not watched.of("batch", 4)


def test_the_last_transform_makes_the_sample(watched: Process) -> None:
    last = [record.rows for record in watched.of("sample", 0) if record.site == "transform/7.lambda"]
    samples = [record.rows for record in watched.of("sample", 0) if record.site == "__getitem__/0"]
    batches = [record.rows for record in watched.of("batch", 0) if record.site == "0"]
    assert last == samples == batches


def test_random_transforms_are_named_with_what_they_draw_from(watched: Process) -> None:
    reported = {note["text"]: note for note in watched.notes_of("random-transform")}
    assert "RandomCrop draws from torch" in reported
    assert not any(text.startswith(("CenterCrop", "ToTensor", "Compose")) for text in reported)
    jolt = reported["Jolt draws from random"]
    assert (jolt["file"], jolt["line"] > 0) == ("{cwd}/transforms.py", True)


def test_samples_name_their_files(watched: Process) -> None:
    record = next(record for record in watched.of("sample", 3) if record.site.startswith("__getitem__/0"))
    assert record.evidence["files"][:2] == ["{data}/a/0.png", "{data}/a/2.png"]


def test_transforms_are_not_taken_for_a_model(watched: Process) -> None:
    assert not [site for step in range(5) for site in watched.sites("forward", step)]
