"""The two phases of device digests on a device that runs when it likes (tests/support/fake_cuda.py): order, waits and failures."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from detctl_probe.digest import device_digests, n6, pending
from detctl_probe.digest.fingerprint import Fingerprint
from detctl_probe.digest.pending import Pending
from detctl_probe.recording.record_writer import Records, Writer
from detctl_probe.transport import frames

from tests.support.fake_cuda import DeviceLostError, FakeCuda, OutOfDeviceMemoryError
from tests.support.probe_records import Record, unpack_records

pytest.importorskip("triton", reason="no Triton beside this torch")


@pytest.fixture(autouse=True)
def _nothing_open() -> Iterator[None]:
    pending.OPEN.clear()
    yield
    pending.OPEN.clear()


def value(made: Any) -> bytes:
    assert isinstance(made, Pending), made
    made.batch.wait()
    return bytes(made.value())


def contents(seed: int, count: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(int(torch.randint(1, 40, (1,), generator=generator)), generator=generator) for _ in range(count)
    ]


@pytest.mark.parametrize("seed", range(25))
def test_any_schedule_gives_the_same_digests(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several streams, batches that are used again and again, and a device that has run some, all or none of it at each step."""
    monkeypatch.setattr(device_digests, "SLOTS", 8)
    cuda, chance = FakeCuda(seed), random.Random(seed)
    digests = cuda.digests()
    streams = [cuda.current, cuda.stream(), cuda.stream()]
    expected, made = [], []
    for step in range(6):
        for number, content in enumerate(contents(100 * seed + step, 12)):
            with cuda.on(chance.choice(streams)):
                laid_out = content.reshape(1, -1).t() if number % 3 else content
                made += digests.submit([cuda.tensor(laid_out)])
            expected.append(n6.digest_tensor(content))
        pending.mark()
        cuda.run(chance.choice([0, 3, 40]))
        for one in made:
            _ = one.batch.known  # what the writer asks
    assert cuda.waits <= len({id(one.batch) for one in made}), "a batch is fetched once, and only when it is there"
    assert [value(one) for one in made] == expected
    assert not cuda.faults


def test_buffers_made_on_one_stream_are_zero_before_another_uses_them() -> None:
    cuda = FakeCuda()
    digests = cuda.digests()
    cuda.run()
    pending.mark()  # opens fresh buffers: their zeros are queued on the first stream, which does not run now
    side, first = cuda.stream(), cuda.current
    with cuda.on(side):
        (made,) = digests.submit([cuda.given(torch.arange(10.0))])
    while side.step():
        pass
    pending.mark()
    assert first.queue
    assert value(made) == n6.digest_tensor(torch.arange(10.0))


def test_nothing_waits_before_the_end() -> None:
    cuda = FakeCuda()
    digests = cuda.digests()
    sent: list[bytes] = []
    writer = Writer(False, lambda data, now: sent.append(data))
    for step in range(3):
        (made,) = digests.submit([cuda.tensor(torch.full((5,), float(step)))])
        writer.write(Records("forward", "train", step, 0, [("net", None, Fingerprint(made, "float32", (5,)), None)]))
        writer.end_step(step, False)
    assert cuda.waits == 0 and not sent
    cuda.run()
    writer.end_step(3, False)  # by now they are known: everything goes out, in order
    records, ends = reported(sent)
    assert [record.step for record in records] == [0, 1, 2] and ends == [0, 1, 2, 3]
    assert [record.digest for record in records] == [
        n6.digest_tensor(torch.full((5,), float(step))) for step in range(3)
    ]


def test_records_keep_their_order_behind_one_that_is_pending() -> None:
    cuda = FakeCuda()
    digests = cuda.digests()
    sent: list[bytes] = []
    writer = Writer(False, lambda data, now: sent.append(data))
    (made,) = digests.submit([cuda.tensor(torch.ones(3))])
    sketch = digests.submit_copy(cuda.tensor(torch.arange(4.0)), lambda host: (*host.tolist(), *[0.0] * 34))
    known = n6.digest_tensor(torch.zeros(2))
    middle = Fingerprint(made, "float32", sketch=sketch)
    for site, one in (
        ("first", Fingerprint(known, "float32")),
        ("second", middle),
        ("third", Fingerprint(known, "float32")),
    ):
        writer.write(Records("forward", "train", 0, 0, [(site, None, one, None)]))
    writer.end_step(0, False)
    assert not sent, "what is known is held up behind what is not, and the step's end behind both"
    writer.finish()
    records, ends = reported(sent)
    assert [record.site for record in records] == ["first", "second", "third"] and ends == [0]
    assert records[1].sketch == (0.0, 1.0, 2.0, 3.0, *[0.0] * 34)
    assert cuda.waits == 1


def test_a_device_that_never_comes_back_holds_nobody_up_before_the_end() -> None:
    cuda = FakeCuda()
    digests = cuda.digests()
    sent: list[bytes] = []
    writer = Writer(False, lambda data, now: sent.append(data))
    stuck = cuda.stream()
    stuck.give(FakeCuda().stream().record_event())  # waits for what nobody completes
    for step in range(20):
        with cuda.on(stuck):
            (made,) = digests.submit([cuda.given(torch.ones(3))])
        writer.write(Records("forward", "train", step, 0, [("net", None, Fingerprint(made, "float32", (3,)), None)]))
        writer.end_step(step, False)
        cuda.run()
    assert not sent and cuda.waits == 0
    with pytest.raises(TimeoutError):
        writer.finish()  # the recorder catches it and sends no seal: the run is unverified


def test_a_lost_device_ends_the_recording_and_not_the_training() -> None:
    cuda = FakeCuda()
    digests = cuda.digests()
    writer = Writer(False, lambda data, now: None)
    (made,) = digests.submit([cuda.tensor(torch.ones(3))])
    writer.write(Records("forward", "train", 0, 0, [("net", None, Fingerprint(made, "float32", (3,)), None)]))
    cuda.lost = True
    with pytest.raises(DeviceLostError):
        writer.end_step(0, False)  # the recorder catches it, logs it once and drops the rest
    with pytest.raises(RuntimeError):
        writer.finish()
    with pytest.raises(RuntimeError, match="not arrived yet"):
        made.value()


def test_a_copy_that_finds_no_memory_is_unfit_and_the_others_are_taken() -> None:
    cuda = FakeCuda()
    digests = cuda.digests()
    cuda.bytes_left = 100
    square = torch.randn(16, 16)
    made = digests.submit([cuda.given(torch.ones(3)), cuda.given(square.t()), cuda.given(torch.zeros(4))])
    assert isinstance(made[1], n6.NoDigestError) and "memory" in str(made[1])
    cuda.bytes_left = None
    pending.mark()
    assert value(made[0]) == n6.digest_tensor(torch.ones(3))
    assert value(made[2]) == n6.digest_tensor(torch.zeros(4))


def test_large_copies_are_read_in_pieces_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_digests, "COPY_BYTES_MAX", 1000)
    monkeypatch.setattr(device_digests, "SLOTS", 64)
    for content in (
        torch.randn(40, 3, 5, 7).to(memory_format=torch.channels_last),
        torch.randn(2, 900).t(),
        torch.randn(1, 2, 3, 500)[..., ::2],
        torch.ones(1, 1).expand(30, 50),
        torch.arange(4000, dtype=torch.int64)[::3],
        torch.arange(9000, dtype=torch.uint8)[::2],
    ):
        cuda = FakeCuda()
        digests = cuda.digests()
        made = digests.submit([cuda.given(torch.ones(2)), cuda.given(content), cuda.given(torch.ones(1))], 5)
        pending.mark()
        assert [value(one) for one in made] == [
            n6.digest_tensor(one, 5) for one in (torch.ones(2), content, torch.ones(1))
        ]
        assert 0 < cuda.largest_copy_bytes <= max(1000, 4 * content.numel() * content.element_size() // 64)
        assert not cuda.faults


def test_nothing_at_all_is_done_under_graph_capture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even the first buffers of a device that was not used before."""
    cuda = FakeCuda()
    cuda.current.capturing = True
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: cuda.current.capturing)
    monkeypatch.setattr(device_digests, "DeviceDigests", lambda *_: pytest.fail("a device was opened under capture"))
    tensor = cuda.given(torch.ones(3))
    (made,) = device_digests.submit([tensor])
    assert isinstance(made, n6.NoDigestError) and "capture" in str(made)
    for take in (lambda: device_digests.submit_one(tensor), lambda: device_digests.submit_copy(tensor, list)):
        with pytest.raises(n6.NoDigestError, match="capture"):
            take()
    assert not cuda.faults


def test_work_goes_to_the_tensors_device_whichever_is_current() -> None:
    cuda = FakeCuda(device="cuda:1", current_device="cuda:0")
    digests = cuda.digests()
    (made,) = digests.submit([cuda.given(torch.ones(3))])
    pending.mark()
    assert value(made) == n6.digest_tensor(torch.ones(3))
    assert cuda.launches and not cuda.faults


def test_where_the_kernel_cannot_be_compiled_it_is_reported_once_and_digests_wait(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: Any) -> Any:
        raise RuntimeError("Failed to find C compiler")

    monkeypatch.setattr(device_digests, "interpreted", True)
    monkeypatch.setattr(device_digests, "DeviceDigests", fails)
    monkeypatch.setattr(device_digests, "_devices", {})
    for _ in range(3):
        assert device_digests.submit([torch.ones(3)]) == [n6.digest_tensor(torch.ones(3))]
    assert capfd.readouterr().err.count("Triton cannot be used on cpu (RuntimeError: Failed to find C compiler)") == 1


def test_a_step_that_marks_out_of_memory_raises_for_the_recorder_to_catch() -> None:
    cuda = FakeCuda()
    digests = cuda.digests()
    digests.submit([cuda.given(torch.ones(3))])
    cuda.bytes_left = 10  # no room for the next batch's buffers
    with pytest.raises(OutOfDeviceMemoryError):
        pending.mark()
    assert not pending.OPEN, "it is not tried again at each step"


def reported(sent: list[bytes]) -> tuple[list[Record], list[int]]:
    """(records, steps that ended)."""
    reader, records, ends = frames.FrameReader(), [], []
    for data in sent:
        for kind, payload in reader.feed(data):
            if kind == frames.RECORDS:
                records += unpack_records(payload)
            elif kind == frames.STEP:
                ends.append(frames.unpack_step(payload)[0])
    return records, ends
