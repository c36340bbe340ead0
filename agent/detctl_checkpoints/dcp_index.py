"""Reads the index of a distributed checkpoint (`.metadata`), a pickle, by an unpickler that can build an index and nothing else.

Every class is allowed by its exact name. A module is not enough: pickle resolves `os.system` inside
`torch.distributed.checkpoint.filesystem`, which imports os.
"""

from __future__ import annotations

import os
import pickle
import types
from typing import Any, ClassVar, Dict

from detctl_proto.files.regular_file import open_regular

from detctl_checkpoints.content import CheckpointError
from detctl_checkpoints.pickle_rehearsal import LEFT_OUT

INDEX_BYTES_MAX = 1 << 30

_CHECKPOINT = "torch.distributed.checkpoint"
_METADATA = (
    "Metadata", "TensorStorageMetadata", "BytesStorageMetadata", "ChunkStorageMetadata", "TensorProperties", "MetadataIndex",
    "StorageMeta", "_MEM_FORMAT_ENCODING",
)  # fmt: skip
_ALLOWED = frozenset(
    [(module, name) for module in (_CHECKPOINT + ".metadata", "torch.distributed._shard.checkpoint.metadata") for name in _METADATA]
    + [(_CHECKPOINT + ".filesystem", "_StorageInfo"), (_CHECKPOINT + ".filesystem", "_StoragePrefix")]
    # torch 2.0 kept the properties of a tensor here.
    + [("torch.distributed._shard.sharded_tensor.metadata", name) for name in ("TensorProperties", "MEM_FORMAT_ENCODING")]
    + [("torch", "Size"), ("torch.serialization", "_get_layout"), ("collections", "OrderedDict"), ("builtins", "set")]
    + [(module, name) for module in ("pathlib", "pathlib._local") for name in ("PosixPath", "PurePosixPath")]
)  # fmt: skip
# The unpickler that is written in Python: a length or a place in the memo that the pickle claims costs it no memory.
_Unpickler: Any = pickle._Unpickler


class _Index(_Unpickler):  # type: ignore[misc]
    dispatch: ClassVar[Dict[int, Any]] = {
        key: value for key, value in _Unpickler.dispatch.items() if key not in LEFT_OUT
    }

    def _build(self) -> None:
        # Only on objects of an index: on a class or a function it would change torch itself.
        if isinstance(self.stack[-2], (type, types.FunctionType)):
            raise CheckpointError("its index sets attributes of a class: it is not loaded")
        _Unpickler.dispatch[pickle.BUILD[0]](self)

    dispatch[pickle.BUILD[0]] = _build

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _ALLOWED:
            return super().find_class(module, name)
        if module == "torch" and "." not in name:
            import torch

            kind = getattr(torch, name, None)
            if isinstance(kind, torch.dtype):
                return kind
        raise CheckpointError("its index holds %s.%s, which belongs to no index: it is not loaded" % (module, name))


def read_index(folder: str) -> Any:
    """torch.distributed.checkpoint's Metadata. Raises CheckpointError with one line, OSError where it cannot be opened."""
    path = os.path.join(folder, ".metadata")
    try:
        import torch.distributed.checkpoint.metadata  # noqa: F401
    except ImportError:
        raise CheckpointError("%s: this torch reads no distributed checkpoints" % folder) from None
    try:
        with open_regular(path, INDEX_BYTES_MAX) as stream:
            index = _Index(stream).load()
        if not isinstance(index.state_dict_metadata, dict) or not isinstance(index.storage_data, dict):
            raise ValueError("no index")
    except CheckpointError as error:
        raise CheckpointError("%s: %s" % (path, _one_line(error))) from None
    except OSError:
        raise
    except Exception as error:  # anything that a damaged pickle, or torch's own __setstate__, may raise
        raise CheckpointError("%s: damaged or not an index: %s" % (path, _one_line(error))) from None
    return index


def _one_line(error: BaseException) -> str:
    """The text in printable characters: its names come from the pickle, and may hold line breaks and control characters."""
    text = str(error)[:300]
    return text if text.isprintable() else ascii(text)
