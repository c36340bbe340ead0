"""Envelope, Collator and their observations, without a DataLoader."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from data_fake import FakeRecorder
from detctl_probe.observe.data import batches
from detctl_probe.observe.data.batches import Collator, Envelope, Seen, current_fetch, inside_fetch


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeRecorder:
    made = FakeRecorder()
    monkeypatch.setattr(batches, "recorder", lambda: made)
    return made


class Pinned:
    """Something that pins itself, as a batch of PyG does."""

    def __init__(self, pinned: bool = False) -> None:
        self.pinned = pinned

    def pin_memory(self) -> Pinned:
        return Pinned(True)


def stack(samples: list[torch.Tensor]) -> torch.Tensor:
    return torch.stack(samples)


def refuse(samples: list[Any]) -> None:
    raise RuntimeError("no batch")


def seen_of(collator: Collator, samples: Any, index: Any, dataset: Any = None) -> tuple[Any, Seen]:
    collator.begin(dataset, index)
    try:
        batch = collator(samples)
    finally:
        collator.end()
    seen = collator.take()
    assert seen is not None
    return batch, seen


def test_torchs_pin_thread_pins_what_is_inside() -> None:
    pin = sys.modules["torch.utils.data._utils.pin_memory"].pin_memory
    envelope = Envelope({"own": Pinned(), "text": "a", "more": [Pinned()]}, Seen([], [], [], 0, []))
    pinned = pin(envelope, None)
    assert pinned is envelope
    assert pinned.data["own"].pinned and pinned.data["more"][0].pinned
    assert pinned.data["text"] == "a"


def test_an_envelope_and_a_collator_survive_the_queue() -> None:
    envelope = pickle.loads(pickle.dumps(Envelope([1, 2], Seen([], [], [], 3, []))))
    assert (envelope.data, envelope.seen.worker) == ([1, 2], 3)
    collator = pickle.loads(pickle.dumps(Collator(stack, True, False)))
    assert torch.equal(collator([torch.ones(1)]), torch.ones(1, 1))


def test_one_fetch_is_order_sample_batch(fake: FakeRecorder) -> None:
    samples = [torch.zeros(2), torch.ones(2)]
    batch, seen = seen_of(Collator(stack, True, False), samples, [4, 7])
    assert torch.equal(batch, torch.stack(samples))
    assert [(stage, site, fingerprint.shape) for stage, site, fingerprint, _ in seen.records] == [
        ("order", "", (2,)),
        ("sample", "__getitem__", (2, 2)),
        ("batch", "batch", (2, 2)),
    ]
    assert seen.records[0][3] == {"first": [4, 7]}
    assert seen.records[1][2].rows == seen.records[2][2].rows
    assert not fake.records  # the main process writes when it takes the batch


def test_a_worker_wraps_and_the_main_process_does_not(fake: FakeRecorder) -> None:
    collator = Collator(stack, True, True)
    collator.begin(None, [0])
    wrapped = collator([torch.ones(1)])
    collator.end()
    assert type(wrapped) is Envelope
    assert collator.take() is None
    assert collator([torch.ones(1)]).shape == (1, 1)  # nobody fetches: the user's function alone


def test_a_failing_collate_raises_its_own_and_leaves_nothing(fake: FakeRecorder) -> None:
    collator = Collator(refuse, True, False)
    collator.begin(None, [0])
    assert inside_fetch()
    with pytest.raises(RuntimeError, match="no batch"):
        collator([1])
    collator.end()
    assert not inside_fetch()
    assert current_fetch() is None
    assert collator.take() is None


def test_a_collate_that_collates_twice_or_changes_its_samples_is_the_users_business(fake: FakeRecorder) -> None:
    def changes(samples: list[torch.Tensor]) -> torch.Tensor:
        samples[0].add_(5)
        return torch.stack(samples)

    _, seen = seen_of(Collator(changes, True, False), [torch.zeros(2)], [0])
    sample, batch = (record[2] for record in seen.records[1:])
    assert sample.rows != batch.rows


def test_outside_the_window_nothing_is_digested(fake: FakeRecorder) -> None:
    fake.recording = False
    collator = Collator(stack, True, False)
    collator.begin(None, [0])
    assert inside_fetch() and current_fetch() is None
    assert collator([torch.ones(1)]).shape == (1, 1)
    collator.end()
    assert collator.take() is None


def test_what_the_probe_itself_breaks_becomes_a_gap(fake: FakeRecorder, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(batches, "leaves", broken)
    batch, seen = seen_of(Collator(stack, True, False), [torch.ones(1)], [0])
    assert batch.shape == (1, 1)
    assert {stage for stage, _, _ in seen.unobserved} == {"sample", "batch"}
    assert all("ZeroDivisionError" in why for _, _, why in seen.unobserved)


def test_an_exception_of_a_signal_handler_goes_through(fake: FakeRecorder, monkeypatch: pytest.MonkeyPatch) -> None:
    import os
    import signal

    def handler(number: int, frame: Any) -> None:
        raise RuntimeError("a worker was killed")

    def interrupted(*_: Any) -> Any:
        os.kill(os.getpid(), signal.SIGUSR1)
        return iter(())

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        monkeypatch.setattr(batches, "leaves", interrupted)
        collator = Collator(stack, True, False)
        collator.begin(None, [0])
        with pytest.raises(RuntimeError, match="a worker was killed"):
            collator([torch.ones(1)])
        collator.end()
    finally:
        signal.signal(signal.SIGUSR1, before)
