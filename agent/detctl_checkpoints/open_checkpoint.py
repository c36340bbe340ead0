"""Recognises the format of a checkpoint and opens it."""

from __future__ import annotations

import functools
import importlib.util
import os
from typing import Sequence

from detctl_proto.files.regular_file import RegularFileError, open_regular

from detctl_checkpoints import dcp_folder, folder, safetensors_file, torch_file
from detctl_checkpoints.content import Checkpoint, CheckpointError

LFS = b"version https://git-lfs.github.com/spec/"


def open_checkpoint(path: str, allowed: Sequence[str] = ()) -> Checkpoint:
    """Opens a file or a folder. Raises CheckpointError with one line.

    allowed: names of classes that a torch.save file may hold beside torch's own.
    """
    if not os.path.exists(path):
        raise CheckpointError("%s: no such file or folder" % path)
    try:
        if not os.path.isdir(path):
            found = _file(path, allowed)
        elif os.path.exists(os.path.join(path, ".metadata")):
            found = dcp_folder.load(path)
        else:
            found = folder.load(path, functools.partial(_file, allowed=allowed))
    except OSError as error:
        where = error.filename if isinstance(error.filename, str) else path
        raise CheckpointError("%s: %s" % (where, error.strerror or error)) from None
    if not found.leaves:
        raise CheckpointError("%s: the checkpoint is empty, so there is nothing to compare" % path)
    return found


def _file(path: str, allowed: Sequence[str]) -> Checkpoint:
    try:
        stream = open_regular(path, None, follow=True)
    except RegularFileError as error:
        raise CheckpointError(str(error)) from None
    with stream:
        head = stream.read(64)
        stream.seek(0)
        if not head:
            raise CheckpointError("%s: an empty file" % path)
        if head.startswith(LFS):
            raise CheckpointError("%s: this is a Git LFS pointer and not the file itself: run `git lfs pull`" % path)
        if safetensors_file.is_one(path, head):
            return safetensors_file.load(path, stream)
        if folder.holds_random_states(os.path.basename(path)) and _has_numpy():
            allowed = [*allowed, "numpy"]  # its arrays alone, which hold data and run nothing
        return torch_file.load(path, stream, allowed)


def _has_numpy() -> bool:
    return importlib.util.find_spec("numpy") is not None
