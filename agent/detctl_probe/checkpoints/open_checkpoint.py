"""Tells what lies at a path and opens it."""

from __future__ import annotations

import os
from typing import Sequence

from detctl_probe.checkpoints import dcp_folder, safetensors_file, torch_file
from detctl_probe.checkpoints.content import Checkpoint, CheckpointError

LFS = b"version https://git-lfs.github.com/spec/"
# Shards of a model as the hub stores them, best first.
SHARDS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")


def open_checkpoint(path: str, allowed: Sequence[str] = ()) -> Checkpoint:
    """Raises CheckpointError with one line. allowed: names of classes that a torch.save file may hold beside torch's own."""
    if not os.path.exists(path):
        raise CheckpointError("%s: no such file or folder" % path)
    try:
        found = _folder(path, allowed) if os.path.isdir(path) else _file(path, allowed)
    except OSError as error:
        raise CheckpointError("%s: %s" % (error.filename or path, error.strerror or error)) from None
    if not found.leaves:
        raise CheckpointError("%s: an empty checkpoint: nothing to compare" % path)
    return found


def _file(path: str, allowed: Sequence[str]) -> Checkpoint:
    with open(path, "rb") as stream:
        head = stream.read(64)
    if not head:
        raise CheckpointError("%s: an empty file" % path)
    if head.startswith(LFS):
        raise CheckpointError("%s: a Git LFS pointer, not the file itself: run `git lfs pull`" % path)
    if safetensors_file.is_one(path):
        return safetensors_file.load(path)
    return torch_file.load(path, allowed)


def _folder(path: str, allowed: Sequence[str]) -> Checkpoint:
    names = sorted(os.listdir(path))
    if ".metadata" in names:
        return dcp_folder.load(path)
    for ending in SHARDS:
        shards = [name for name in names if name.endswith(ending)]
        weights = [name for name in shards if ending != ".bin" or not name.startswith("training_args")]
        if weights:
            return _united(path, [_file(os.path.join(path, name), allowed) for name in weights])
    raise CheckpointError(
        "%s: no checkpoint in this folder (.metadata, *.safetensors, *.bin, *.pt, *.pth or *.ckpt)" % path
    )


def _united(path: str, shards: Sequence[Checkpoint]) -> Checkpoint:
    """Several files of one model; a name in two of them cannot be told apart."""
    whole = Checkpoint(path, shards[0].format, {})
    for shard in shards:
        twice = sorted(shard.leaves.keys() & whole.leaves.keys())
        if twice:
            text = "%s: %s stands in several files: name one of them" % (path, twice[0])
            raise CheckpointError(text)
        whole.leaves.update(shard.leaves)
        whole.notes.extend(shard.notes)
    if len(shards) > 1:
        whole.notes.append("%d files: %s" % (len(shards), ", ".join(os.path.basename(one.path) for one in shards[:4])))
    return whole
