"""Folders of torch.distributed.checkpoint: `.metadata` and one file a rank; tensors come whole, whatever ranks had saved.

The pieces are read here and not by dcp.load, whose arguments change with every torch (`no_dist` came and went), and which loads
values without weights_only. A piece is a torch.save file of its own inside the rank's file.
"""

from __future__ import annotations

import functools
import io
import os
import pickle
from typing import Any, Callable, Dict, List

from detctl_probe.checkpoints.content import Checkpoint, CheckpointError, Leaf, Unread, of_value
from detctl_probe.checkpoints.dcp_index import read_index
from detctl_probe.checkpoints.refused import refused_words

# What a cut or altered piece makes of itself on loading.
_DAMAGE = (RuntimeError, EOFError, ValueError, TypeError, LookupError, AttributeError)


def load(path: str) -> Checkpoint:
    """Raises CheckpointError where the index cannot be read; what lies in a file that is missing or cut is Unread."""
    index = read_index(path)
    pieces = _by_name(index)
    leaves: Dict[str, Callable[[], Leaf]] = {}
    for name, entry in index.state_dict_metadata.items():
        kind = type(entry).__name__
        if kind == "TensorStorageMetadata":
            leaves[name] = functools.partial(_tensor, path, entry, pieces.get(name, []))
        elif kind == "BytesStorageMetadata":
            # Now, and not when asked for: a list is one value there, and several leaves in a file of torch.save.
            value = _value(path, pieces.get(name, []))
            for below, read in of_value(value).items():
                leaves[name if below == "." else "%s.%s" % (name, below)] = read
        else:
            leaves[name] = functools.partial(Unread, "a %s" % kind)
    return Checkpoint(path, "distributed", leaves)


def _by_name(index: Any) -> Dict[str, List[Any]]:
    """Name -> [(offsets or None, where its bytes lie)]."""
    found: Dict[str, List[Any]] = {}
    for key, place in index.storage_data.items():
        found.setdefault(key.fqn, []).append((key.offset, place))
    return found


def _value(path: str, pieces: List[Any]) -> Leaf:
    if not pieces:
        return Unread("the index does not say where it lies")
    try:
        return _piece(path, pieces[0][1])
    except CheckpointError as error:
        return Unread(str(error))


def _tensor(path: str, entry: Any, pieces: List[Any]) -> Leaf:
    """The whole tensor, put together; Unread where its pieces do not cover it."""
    import torch

    places = {tuple(offset or ()): place for offset, place in pieces}
    chunks = {tuple(chunk.offsets): tuple(chunk.sizes) for chunk in entry.chunks}
    whole = torch.empty(entry.size, dtype=entry.properties.dtype)
    covered = 0
    for offsets, sizes in chunks.items():
        place = places.get(offsets) or (places.get(()) if len(chunks) == 1 else None)
        if place is None:
            return Unread("the index does not say where its part at %s lies" % list(offsets))
        try:
            part = _piece(path, place)
        except CheckpointError as error:
            return Unread(str(error))
        if not isinstance(part, torch.Tensor) or tuple(part.shape) != sizes or part.dtype != whole.dtype:
            return Unread("its part at %s is not what the index says" % list(offsets))
        if any(start < 0 or start + size > of for start, size, of in zip(offsets, sizes, whole.shape)):  # noqa: B905
            return Unread("its part at %s lies outside of it" % list(offsets))
        if len(chunks) == 1 and part.shape == whole.shape:
            return part
        where = tuple(slice(start, start + size) for start, size in zip(offsets, sizes))  # noqa: B905
        whole[where] = part
        covered += part.numel()
    if covered != whole.numel():
        return Unread("its parts hold %d of %d elements" % (covered, whole.numel()))
    return whole


def _piece(path: str, place: Any) -> Any:
    """One saved object. Raises CheckpointError with one line."""
    import torch

    name = str(place.relative_path)
    file = os.path.normpath(os.path.join(path, name))
    if os.path.isabs(name) or not file.startswith(os.path.normpath(path) + os.sep):
        raise CheckpointError("%s lies outside of the folder" % name)
    if getattr(place, "transform_descriptors", None):
        raise CheckpointError("%s is stored transformed (%s)" % (name, ", ".join(place.transform_descriptors)))
    try:
        with open(file, "rb") as stream:
            stream.seek(place.offset)
            content = stream.read(place.length)
    except OSError as error:
        raise CheckpointError("%s: %s" % (name, error.strerror or error)) from None
    if len(content) < place.length:
        raise CheckpointError("%s: cut" % name)
    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError("%s: %s" % (name, refused_words(str(error), []))) from None
    except _DAMAGE as error:
        raise CheckpointError("%s: damaged: %s" % (name, (str(error).splitlines() or [""])[0][:200])) from None
