"""Folders of torch.distributed.checkpoint: `.metadata` and one file a rank; tensors come whole, whatever ranks had saved."""

from __future__ import annotations

import functools
import os
import pickle
from typing import Any, Callable, Dict

from detctl_probe.checkpoints.content import Checkpoint, CheckpointError, Leaf, Unread

# Modules whose classes an index may name; everything else is refused.
TRUSTED = ("torch.distributed.checkpoint.", "torch.distributed._shard.", "torch.serialization")
PLAIN = {
    ("collections", "OrderedDict"), ("torch", "Size"), ("torch", "device"), ("torch._utils", "_rebuild_device"), ("torch", "strided"),
    ("torch.storage", "_load_from_bytes"), ("torch.serialization", "_get_layout"), ("builtins", "set"), ("builtins", "list"),
    ("pathlib", "PosixPath"), ("pathlib", "PurePosixPath"), ("pathlib._local", "PosixPath"),
}  # fmt: skip


class _Index(pickle.Unpickler):
    """Knows torch's own classes alone: an index is a pickle, and could run anything."""

    def find_class(self, module: str, name: str) -> Any:
        is_dtype = module == "torch" and name.split("_")[0].rstrip("0123456789") in (
            "float",
            "bfloat",
            "int",
            "uint",
            "complex",
            "bool",
        )
        if module.startswith(TRUSTED) or ((module, name) in PLAIN and name != "_load_from_bytes") or is_dtype:
            return super().find_class(module, name)
        raise CheckpointError("its index holds %s.%s, which is none of torch's own" % (module, name))


def load(path: str) -> Checkpoint:
    """Raises CheckpointError where the index cannot be read; a tensor whose file is missing or cut is Unread."""
    try:
        from torch.distributed.checkpoint.metadata import BytesStorageMetadata, TensorStorageMetadata
    except ImportError:
        raise CheckpointError("%s: this torch reads no distributed checkpoints" % path) from None
    try:
        with open(os.path.join(path, ".metadata"), "rb") as stream:
            index = _Index(stream).load()
        entries = dict(index.state_dict_metadata)
    except CheckpointError as error:
        raise CheckpointError("%s/.metadata: %s" % (path, error)) from None
    except (
        pickle.UnpicklingError,
        EOFError,
        AttributeError,
        ImportError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
    ) as error:
        raise CheckpointError("%s/.metadata: damaged or no index: %s" % (path, error)) from None
    leaves: Dict[str, Callable[[], Leaf]] = {}
    for name, entry in entries.items():
        if isinstance(entry, TensorStorageMetadata):
            leaves[name] = functools.partial(_tensor, path, index, name, entry)
        elif isinstance(entry, BytesStorageMetadata):
            leaves[name] = functools.partial(_value, path, index, name)
        else:
            leaves[name] = functools.partial(Unread, "a %s" % type(entry).__name__)
    return Checkpoint(path, "distributed", leaves)


def _tensor(path: str, index: Any, name: str, entry: Any) -> Leaf:
    import torch

    wanted = {name: torch.empty(entry.size, dtype=entry.properties.dtype)}
    why = _read(path, index, wanted)
    return wanted[name] if why is None else Unread(why)


def _value(path: str, index: Any, name: str) -> Leaf:
    wanted: Dict[str, Any] = {name: None}
    why = _read(path, index, wanted)
    return wanted[name] if why is None else Unread(why)


def _read(path: str, index: Any, wanted: Dict[str, Any]) -> Any:
    """Fills `wanted` in this process alone; why it could not, else None."""
    import torch
    import torch.distributed.checkpoint as dcp

    class Reader(dcp.FileSystemReader):  # type: ignore[misc, unused-ignore]
        def read_metadata(self, *args: Any, **kwargs: Any) -> Any:
            return index  # read once, by our own unpickler

    class Planner(dcp.DefaultLoadPlanner):  # type: ignore[misc, unused-ignore]
        def load_bytes(self, read_item: Any, value: Any) -> None:
            self.state_dict[read_item.dest_index.fqn] = torch.load(value, weights_only=True)

    try:
        # flatten: names of nested dictionaries are already the index's
        planner = Planner(flatten_state_dict=False, flatten_sharded_tensors=False)
        dcp.load(wanted, storage_reader=Reader(path), planner=planner, no_dist=True)
    except (
        Exception,
        dcp.api.CheckpointException,
    ) as error:  # the second, which holds what a read met, is no Exception
        text = str(error).strip().splitlines()
        return "cannot be read: %s" % (text[-1][:200] if text else type(error).__name__)
    return None
