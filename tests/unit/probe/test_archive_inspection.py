"""Files of torch.save looked at before torch reads them: what torch.save writes comes through, everything else is refused by name."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import pickle
import random
import struct
import sys
import tarfile
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
from detctl_checkpoints.archive_inspection import ArchiveError, inspect_archive
from detctl_checkpoints.content import CheckpointError
from detctl_checkpoints.open_checkpoint import open_checkpoint
from detctl_checkpoints.torch_file import load

from tests.support.torch_archives import LEGACY_MAGIC, archive, legacy_tar, old_tar, raw_archive, storage, tensor

END = 22  # bytes of a zip's last record


class Weights(OrderedDict):
    pass


def refusal(content: bytes) -> str:
    with pytest.raises(ArchiveError) as refused:
        inspect_archive(io.BytesIO(content))
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_an_archive_by_hand_comes_through() -> None:
    facts = inspect_archive(io.BytesIO(archive(tensor() + b".")))
    assert facts.format == "zip" and set(facts.entries) == {"data.pkl", "data/0", "version"}
    assert facts.entries["data/0"].size == 16


def test_what_torch_saves_comes_through(tmp_path: Path) -> None:
    import torch

    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.randn(3, 4)).sum().backward()
    optimizer.step()
    held = {
        "model": model.state_dict(), "optimizer": optimizer.state_dict(), "parameter": torch.nn.Parameter(torch.ones(2)),
        "others": [torch.ones(3, dtype=torch.bfloat16), torch.ones(3, dtype=torch.complex64)],
        "sparse": torch.eye(3).to_sparse(), "csr": torch.eye(3).to_sparse_csr(), "view": torch.arange(9)[3:5], "none": torch.empty(0),
        "random": torch.get_rng_state(), "plain": (1, "two", 3.0, None, True, {4}, b"five", bytearray(b"six"), 10**30, 1j),
        "size": torch.Size([1, 2]), "device": torch.device("cpu"), "dtype": torch.float16,
    }  # fmt: skip
    for name, options in {"new": {}, "old": {"_use_new_zipfile_serialization": False}}.items():
        path = tmp_path / f"{name}.pt"
        torch.save(held, path, **options)
        facts = inspect_archive(path)
        assert facts.format == {"new": "zip", "old": "legacy"}[name]
        found = open_checkpoint(str(path))
        assert torch.equal(found.leaves["model.0.weight"](), model[0].weight)
    torch.save(torch.ones(2).to(torch.float8_e5m2), tmp_path / "float8.pt")
    assert "." in open_checkpoint(str(tmp_path / "float8.pt")).leaves
    torch.save({"x": Weights(a=1)}, tmp_path / "class.pt")
    inspect_archive(tmp_path / "class.pt")  # which classes are allowed is asked of torch
    torch.save({"x": 1}, tmp_path / "protocol.pt", pickle_protocol=5)
    inspect_archive(tmp_path / "protocol.pt")


def test_torchscript_is_refused(tmp_path: Path) -> None:
    import torch

    with pytest.warns((FutureWarning, DeprecationWarning)):
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "script.pt")
    assert "TorchScript" in refusal((tmp_path / "script.pt").read_bytes())
    with pytest.raises(CheckpointError, match="TorchScript archive: it holds code"):
        open_checkpoint(str(tmp_path / "script.pt"))


@pytest.mark.parametrize("name", ["constants.pkl", "Constants.PKL", "code/__torch__.py", "CODE/x.debug_pkl"])
def test_one_entry_of_torchscript_is_enough(name: str) -> None:
    assert "TorchScript" in refusal(archive(more=[(name, b"")]))
    assert "TorchScript" in refusal(archive(more=[(name, b"")], method=zipfile.ZIP_DEFLATED, top="x" * 300))


def test_tars_are_refused_whatever_lies_before_their_magic() -> None:
    for made in (legacy_tar(), legacy_tar(kind=tarfile.PAX_FORMAT), legacy_tar(kind=tarfile.GNU_FORMAT), old_tar()):
        assert "a tar file" in refusal(made)
    assert "a tar file" in refusal(random.Random(0).randbytes(257) + b"ustar" + bytes(600))


def test_compressed_entries_and_bombs_are_refused() -> None:
    assert "compressed" in refusal(archive(more=[("data/1", bytes(50_000_000))], method=zipfile.ZIP_DEFLATED))
    assert "packed in a way" in refusal(archive(method=zipfile.ZIP_LZMA))
    assert "gzip" in refusal(gzip.compress(archive()))
    lies = bytearray(archive())
    at = lies.index(b"PK\x01\x02")
    struct.pack_into("<I", lies, at + 24, 1 << 30)  # unpacked, it would be a GiB
    assert "compressed" in refusal(bytes(lies))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("DATA.pkl", "two entries are called"),
        ("data/../../x", "is called"),
        ("data//x", "is called"),
        ("./version", "is called"),
        ("data/a/b", "it holds archive/data/a/b"),
        ("model.py", "it holds archive/model.py"),
        ("bytecode.pkl", "it holds archive/bytecode.pkl"),
    ],
)
def test_names_that_torch_save_does_not_write(name: str, message: str) -> None:
    assert message in refusal(archive(more=[(name, b"")]))


def test_one_folder_and_a_pickle_are_needed() -> None:
    good = [("a/data.pkl", b"N."), ("a/version", b"3\n")]
    inspect_archive(io.BytesIO(raw_archive(good)))
    for more in (("b/version2", b""), ("/a/data/1", b""), ("loose", b""), ("A/byteorder", b"")):
        assert "do not lie in one folder" in refusal(raw_archive([*good, more]))
    assert "no data.pkl" in refusal(raw_archive(good[1:]))


def test_an_encrypted_entry_is_refused() -> None:
    made = bytearray(archive())
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = made.index(magic)
        made[at + offset] |= 1
    assert "encrypted" in refusal(bytes(made))


def test_what_two_readers_would_read_differently_is_refused() -> None:
    good, evil = archive(), archive(b"\x80\x02cos\nsystem\n(X\x04\x00\x00\x00truetR.")
    assert "at the end" in refusal(archive(comment=b"x"))
    assert "without its directory" in refusal(good + b"\0")
    # Behind another archive: one reader takes the first directory, one the last.
    refusal(good + evil)
    refusal(good[:-END] + evil)
    refusal(b"PK\x03\x04" + good)
    # Bytes between entries, and entries over one another.
    second = good.index(b"PK\x03\x04", 4)
    shifted = bytearray(good)
    directory = shifted.index(b"PK\x01\x02")
    next_one = shifted.index(b"PK\x01\x02", directory + 4)
    struct.pack_into("<I", shifted, next_one + 42, 0)
    assert "overlaps" in refusal(bytes(shifted))
    # Its own header names another entry than the directory does.
    renamed = bytearray(good)
    renamed[second + 30 : second + 34] = b"Arch"
    assert "contradicts" in refusal(bytes(renamed))


def test_counts_and_zip64_are_not_believed() -> None:
    good = archive()
    many = bytearray(good)
    struct.pack_into("<2H", many, len(many) - END + 8, 0xFFFE, 0xFFFE)
    assert "claims 65534 entries" in refusal(bytes(many))
    start = good.index(b"PK\x01\x02")
    length = len(good) - END - start
    for count, begin, message in (
        (3, start + 1, "contradict"),
        (1 << 40, start, "contradict"),
        (4, start, "contradict"),
    ):
        wide = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, length, begin)
        locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, len(good) - END, 1)
        assert message in refusal(good[:-END] + wide + locator + good[-END:])
    wide = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1 << 40, 1 << 40, length, start)
    end = good[-END : -END + 8] + struct.pack("<2H", 0xFFFF, 0xFFFF) + good[-END + 12 :]
    assert "claims 1099511627776 entries" in refusal(good[:-END] + wide + locator + end)


def test_storages_are_as_large_as_the_file_reports() -> None:
    """CVE-2026-24747: before torch 2.10, the tensor would reach over memory that is not its own."""
    assert "claims 16000 bytes of data/0, which has 16" in refusal(archive(tensor(4000) + b"."))
    assert "data/0" in refusal(raw_archive([("a/data.pkl", tensor() + b".")]))
    refusal(archive(tensor(-1) + b"."))
    two_lines = tensor().replace(b"X\x01\x00\x00\x000", b"X\x03\x00\x00\x00a\nb")
    assert "data/a\\nb is missing" in refusal(archive(two_lines + b"."))


@pytest.mark.parametrize(
    ("operations", "message"),
    [
        (b"K\x00K\x01s.", "sets items of what is not a dict"),
        (b"(K\x00K\x01u.", "sets items of what is not a dict"),
        (b"K\x00a.", "appends to what is not a list"),
        (b"(K\x00e.", "appends to what is not a list"),
        (b")R.", "calls what is not a class"),
    ],
)
def test_a_tensor_is_not_written_to(operations: bytes, message: str) -> None:
    assert message in refusal(archive(tensor() + operations))


@pytest.mark.parametrize(
    "pickled",
    [
        b"\x80\x02cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R.",
        b"\x80\x02ctorch\nTensor\nJ\xff\xff\xff\x7f\x85\x81.",
        b"\x80\x04\x96" + struct.pack("<Q", 1 << 40) + b".",  # BYTEARRAY8
        b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b".",  # BINBYTES8
        b"\x80\x04\x95" + struct.pack("<Q", 1 << 40) + b".",  # FRAME
        b"\x80\x02\x8b" + struct.pack("<i", 0x7FFFFFFF) + b".",  # LONG4
        b"\x80\x02"
        + b")"
        + b"\x85" * 1_000_000
        + b"K\x01"
        + b"}"
        + b".",  # deep, and two values on the stack are harmless
        b"\x80\x02}" + b")" + b"\x85" * 1_000_000 + b"K\x01s.",  # hashing such a key ends the process
        b"\x80\x02Qabc\n.",
        b"\x80\x02\x82\x01.",
        b"\x80\x02(S'x'\nios\nsystem\n.",
        b"",
    ],
)
def test_pickles_that_would_take_memory_or_the_process(pickled: bytes) -> None:
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with contextlib.suppress(ArchiveError):
        inspect_archive(io.BytesIO(archive(pickled)))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400 << 10  # KiB; a million tuples take 60 MiB


def test_a_large_number_in_the_memo_takes_no_memory() -> None:
    inspect_archive(io.BytesIO(archive(b"\x80\x02Nr\xff\xff\xff\xff.")))


def test_nothing_is_called_and_nothing_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    monkeypatch.setattr(os, "system", called.append)
    inspect_archive(io.BytesIO(archive(b"\x80\x02cos\nsystem\n(X\x04\x00\x00\x00truetR.")))
    inspect_archive(io.BytesIO(archive(b"\x80\x02cantigravity\nfly\n)R.")))
    assert not called and "antigravity" not in sys.modules


def test_the_old_format_is_rehearsed_too() -> None:
    parts = [pickle.dumps(1001, 2), pickle.dumps({"little_endian": True}, 2)]
    value = b"\x80\x02" + storage(4)[:-2] + b"NtQ."
    inspect_archive(io.BytesIO(LEGACY_MAGIC + b"".join(parts) + value + pickle.dumps(["0"], 2) + bytes(24)))
    assert "claims" in refusal(
        LEGACY_MAGIC + b"".join(parts) + storage(1 << 30)[:-2] + b"NtQ." + pickle.dumps(["0"], 2)
    )
    assert "neither a torch.save nor" in refusal(pickle.dumps({"a": 1}, 2))


def test_every_cut_and_many_flips_end_in_one_error() -> None:
    complete = archive(tensor() + b".")
    inspect_archive(io.BytesIO(complete))
    for size in range(len(complete)):
        refusal(complete[:size])
    dice = random.Random(1)
    for _ in range(3000):
        changed = bytearray(complete)
        for _ in range(dice.randint(1, 4)):
            changed[dice.randrange(len(changed))] = dice.randrange(256)
        with contextlib.suppress(ArchiveError):
            inspect_archive(io.BytesIO(bytes(changed)))


def test_what_was_inspected_is_what_is_loaded(tmp_path: Path) -> None:
    """Somebody puts another file in its place between the two."""
    import torch

    torch.save({"a": torch.ones(2)}, tmp_path / "good.pt")
    torch.save({"a": torch.zeros(2)}, tmp_path / "other.pt")
    with open(tmp_path / "good.pt", "rb") as stream:
        os.replace(tmp_path / "other.pt", tmp_path / "good.pt")
        found = load(str(tmp_path / "good.pt"), stream, [])
    assert torch.equal(found.leaves["a"](), torch.ones(2))


def test_a_tensor_that_stands_for_far_more_than_it_holds_is_not_unfolded(tmp_path: Path) -> None:
    import torch

    torch.save({"a": torch.zeros(1).expand(1 << 40), "b": torch.zeros(1).expand(10)}, tmp_path / "wide.pt")
    found = open_checkpoint(str(tmp_path / "wide.pt"))
    assert "it is not unfolded" in found.leaves["a"]().why
    assert torch.equal(found.leaves["b"](), torch.zeros(10))
