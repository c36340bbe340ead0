"""safetensors, indexes of distributed checkpoints and folders that somebody has tampered with: one line, no memory, no code."""

from __future__ import annotations

import json
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import pytest
from detctl_checkpoints import folder
from detctl_checkpoints.content import CheckpointError, Unread
from detctl_checkpoints.open_checkpoint import open_checkpoint

F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as refused:
        open_checkpoint(str(path))
    assert "\n" not in str(refused.value)
    return str(refused.value)


def safetensors(header: Any, content: bytes = bytes(8)) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content


def test_an_intact_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    other = {"dtype": "I64", "shape": [1], "data_offsets": [8, 16]}
    path.write_bytes(safetensors({"__metadata__": {"format": "pt"}, "b": other, "a": F32}, bytes(16)))
    found = open_checkpoint(str(path))
    assert found.leaves["a"]().tolist() == [0.0, 0.0] and found.leaves["b"]().tolist() == [0]


@pytest.mark.parametrize(
    ("header", "content", "message"),
    [
        ({"a": F32, "b": F32}, bytes(8), "does not begin where the tensor before it ends"),  # two over the same bytes
        ({"a": {**F32, "data_offsets": [4, 12]}}, bytes(12), "does not begin where"),
        ({"a": F32}, bytes(16), "its last 8 bytes belong to no tensor"),
        ({"a": {**F32, "data_offsets": [0, 1 << 50]}}, bytes(8), "lies beyond its end"),
        ({"a": {**F32, "shape": [1 << 62]}}, bytes(8), "has 8 bytes for shape"),
        ({"a": {**F32, "shape": [1 << 62, 1 << 62, 0], "data_offsets": [0, 0]}}, b"", ""),
        ({"a": {**F32, "shape": [10**30]}}, bytes(8), "not a safetensors header"),
        ({"a": {**F32, "shape": [2.0]}}, bytes(8), "not a safetensors header"),
        ({"a": {**F32, "shape": [True, 2]}}, bytes(8), "not a safetensors header"),
        ({"a": {**F32, "shape": [1] * 100}}, bytes(8), "not a safetensors header"),
        ({"a": {**F32, "data_offsets": [8, 0]}}, bytes(8), "not a safetensors header"),
        ({"a": {**F32, "data_offsets": [0, 4, 8]}}, bytes(8), "not a safetensors header"),
        ({"a": {**F32, "dtype": 3}}, bytes(8), "not a safetensors header"),
        ({"a": []}, bytes(8), "not a safetensors header"),
        (b'{"a": %b, "a": %b}' % ((json.dumps(F32).encode(),) * 2), bytes(8), "not a safetensors header"),
        (b"[" * 100_000, b"", "not a safetensors header"),
        (b'{"a": NaN}', b"", "not a safetensors header"),
    ],
)
def test_headers_that_do_not_fit_their_bytes(tmp_path: Path, header: Any, content: bytes, message: str) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(safetensors(header, content))
    if message:
        assert message in refusal(path)
    else:
        assert isinstance(open_checkpoint(str(path)), object)


def test_a_header_of_any_length_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    for length in (0, 9, 1 << 30, (1 << 64) - 1):
        path.write_bytes(struct.pack("<Q", length) + b"{}")
        assert "header" in refusal(path)


@pytest.fixture
def distributed(tmp_path: Path) -> Path:
    import torch
    import torch.distributed.checkpoint as dcp

    dcp.save({"w": torch.arange(6.0), "step": 3}, checkpoint_id=str(tmp_path / "dcp"), no_dist=True)
    return tmp_path / "dcp"


def test_an_index_that_claims_sizes_takes_no_memory(distributed: Path) -> None:
    path = distributed / ".metadata"
    index = pickle.loads(path.read_bytes())
    import torch

    entry = index.state_dict_metadata["w"]
    entry.size = torch.Size([1 << 45])
    path.write_bytes(pickle.dumps(index))
    left = open_checkpoint(str(distributed)).leaves["w"]()
    assert isinstance(left, Unread) and "6 of 35184372088832 elements" in left.why
    for place in index.storage_data.values():
        place.length = 1 << 50
    path.write_bytes(pickle.dumps(index))
    assert isinstance(open_checkpoint(str(distributed)).leaves["step"](), Unread)
    for wrong in ("x", -1, None, 1.5, 1 << 80):
        for place in index.storage_data.values():
            place.offset = wrong
        path.write_bytes(pickle.dumps(index))
        assert "contradict themselves" in refusal(distributed)


@pytest.mark.parametrize(
    ("pickled", "message"),
    [
        (b"\x80\x02cos\nsystem\n.", "belongs to no index"),
        (b"\x80\x02ctorch.serialization\n_get_layout\nN}X\x01\x00\x00\x00aK\x01s\x86b.", "sets attributes of a class"),
        (
            b"\x80\x02ctorch.distributed.checkpoint.metadata\nMetadata\nN}X\x01\x00\x00\x00aK\x01s\x86b.",
            "sets attributes of a class",
        ),
        (b"\x80\x02Nr\xff\xff\xff\xff.", "damaged or not an index"),
        (b"\x80\x04\x96" + struct.pack("<Q", 1 << 40) + b".", "damaged or not an index"),
        (b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b".", "damaged or not an index"),
        (b"", "damaged or not an index"),
        (b"\x80\x02K\x01.", "damaged or not an index"),
    ],
)
def test_an_index_that_is_none(distributed: Path, pickled: bytes, message: str) -> None:
    (distributed / ".metadata").write_bytes(pickled)
    assert message in refusal(distributed)


def test_pieces_are_inspected_too(distributed: Path) -> None:
    from tests.support.torch_archives import legacy_tar

    (piece,) = distributed.glob("*.distcp")
    piece.write_bytes((legacy_tar() * 3)[: piece.stat().st_size].ljust(piece.stat().st_size, b"\0"))
    found = open_checkpoint(str(distributed))
    assert all(isinstance(read(), Unread) for read in found.leaves.values())
    piece.unlink()
    os.mkfifo(piece)
    assert all("named pipe" in read().why for read in open_checkpoint(str(distributed)).leaves.values())
    (distributed / ".metadata").unlink()
    os.mkfifo(distributed / ".metadata")
    assert "a named pipe" in refusal(distributed)


def test_files_of_a_folder_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "model.safetensors")
    (tmp_path / "pytorch_model.bin").symlink_to("/dev/zero")
    assert "no checkpoint in this folder" in refusal(tmp_path)
    os.mkfifo(tmp_path / "model.safetensors.index.json")
    assert "no checkpoint in this folder" in refusal(tmp_path)
    monkeypatch.setattr(folder, "FILES_MAX", 2)
    assert "more than 2 files" in refusal(tmp_path)
    for name in ("model.safetensors", "pytorch_model.bin"):
        assert "not a regular file" in refusal(tmp_path / name)
