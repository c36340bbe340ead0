"""Indices of samplers, evidence of datasets, tracebacks without our lines, forced workers."""

from __future__ import annotations

import inspect
import json
import sys
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset

sys.path.insert(0, str(Path(__file__).parent))
from data_fake import FakeRecorder
from detctl_probe.digest.values import NoDigestError
from detctl_probe.intervene import workers as forced
from detctl_probe.observe.data.loader_evidence import (
    EVIDENCE_BYTES_MAX,
    describe_dataset,
    describe_sampler,
    file_names,
    small,
)
from detctl_probe.observe.data.loader_traces import prune
from detctl_probe.observe.data.order import as_list, order_evidence, order_fingerprint
from detctl_probe.settings import Settings


class Files(Dataset[int]):
    def __init__(self, names: list[str]) -> None:
        self.samples = [("/mnt/data/" + name, 0) for name in names]

    @property
    def paths(self) -> list[str]:
        raise AssertionError("the user's code ran")

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> int:
        return index


def logical(path: str) -> str:
    return FakeRecorder().logical(path)


@pytest.mark.parametrize(
    "index",
    [
        [3, 1],
        (3, 1),
        torch.tensor([3, 1]),
        np.array([3, 1]),
        [torch.tensor(3), torch.tensor(1)],
        [np.int64(3), np.int64(1)],
    ],
    ids=["list", "tuple", "tensor", "array", "tensors", "numpy"],
)
def test_indices_are_the_same_in_whatever_form(index: Any) -> None:
    assert as_list(index) == [3, 1]
    assert order_fingerprint(as_list(index)) == order_fingerprint([3, 1])


def test_an_order_is_reported_from_its_permutation() -> None:
    one, other = order_fingerprint([1, 2, 3]), order_fingerprint([3, 2, 1])
    assert one is not None and other is not None
    assert one.digest != other.digest
    assert (one.order_blind, sorted(one.rows or ())) == (other.order_blind, sorted(other.rows or ()))


def test_keys_and_tuples_and_nothing() -> None:
    assert order_fingerprint([None, None]) is None
    keys = order_fingerprint([("a", 1), ("b", 2)])
    assert keys is not None and len(keys.rows or ()) == 2
    assert order_evidence([("a", 1), "b", 3]) == {"first": ["('a', 1)", "b", 3]}
    with pytest.raises(NoDigestError, match="reading would use up"):
        as_list(iter([1]))


def test_files_are_named_through_subsets_and_concatenations() -> None:
    both = ConcatDataset([Files(["a.png", "b.png"]), Files(["c.png"])])
    assert file_names(Subset(both, [2, 0]), [0, 1], logical) == ["{data}/c.png", "{data}/a.png"]
    assert file_names(object(), [0], logical) == []
    assert file_names(Files(["a.png"]), ["key"], logical) == []
    assert file_names(Files(["a.png"]), [7], logical) == []


def test_datasets_and_samplers_are_named() -> None:
    described = describe_dataset(Subset(Files(["a"]), [0]), logical)
    assert described["dataset"] == "Subset(Files)"
    at = describe_dataset(Files(["a"]), logical)["at"]
    assert at == f"{__file__}:{inspect.getsourcelines(Files.__getitem__)[1]}"
    assert describe_sampler(DataLoader(Files(["a"]), shuffle=True)) == {"sampler": "RandomSampler"}


def test_evidence_stays_small() -> None:
    cut = small({"files": ["{data}/" + "x" * 100] * 8, "draws": ["torch"]})
    assert len(json.dumps(cut)) <= EVIDENCE_BYTES_MAX
    assert (len(cut["files"]), cut["draws"]) == (4, ["torch"])


def test_a_traceback_loses_our_lines_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def users() -> None:
        as_list(iter([1]))

    try:
        try:
            users()
        except NoDigestError as error:
            raise KeyError("second") from error
    except KeyError as error:
        caught = error
    assert "as_list" in "".join(traceback.format_exception(caught))
    prune(caught)
    text = "".join(traceback.format_exception(caught))
    assert "order.py" not in text
    assert "users" in text and "second" in text


@pytest.fixture
def force(monkeypatch: pytest.MonkeyPatch) -> Any:
    """force(value) installs the intervention and returns the recorder that it reports to."""

    def install(value: str) -> FakeRecorder:
        monkeypatch.setattr(DataLoader, "__init__", DataLoader.__init__)
        made = FakeRecorder(Settings(socket="", interventions={"workers": value}))
        forced.install(made)  # type: ignore[arg-type]
        return made

    return install


def test_no_workers_drops_what_only_workers_take(force: Any) -> None:
    made = force("0")
    loader = DataLoader(
        Files(["a"]),
        1,
        num_workers=2,
        persistent_workers=True,
        prefetch_factor=3,
        multiprocessing_context="spawn",
        timeout=9,
    )
    assert (loader.num_workers, loader.persistent_workers, loader.prefetch_factor, loader.timeout) == (
        0,
        False,
        None,
        0,
    )
    assert made.interventions["workers"] == ("0", True, "1 loader: 2 → 0")
    assert [batch.tolist() for batch in loader] == [[0]]


def test_many_loaders_are_counted_by_change(force: Any) -> None:
    made = force("3")
    for count in (0, 0, 3):
        assert DataLoader(Files(["a"]), 1, False, None, None, count).num_workers == 3
    assert made.interventions["workers"] == ("3", True, "2 loaders: 0 → 3; 1 loader: 3 → 3")


def test_the_constructor_keeps_its_signature_and_its_signature(force: Any) -> None:
    before = inspect.signature(DataLoader.__init__)
    force("0")
    assert inspect.signature(DataLoader.__init__) == before
    with pytest.raises(ValueError, match="non-negative"):
        DataLoader(Files(["a"]), num_workers=-1)
    with pytest.raises(TypeError, match="nonsense"):
        DataLoader(Files(["a"]), nonsense=1)  # type: ignore[call-arg]


@pytest.mark.parametrize("value", ["-1", "two", "99999", ""])
def test_a_number_that_is_none_is_refused(force: Any, value: str) -> None:
    with pytest.raises(ValueError, match="is not a number"):
        force(value)
