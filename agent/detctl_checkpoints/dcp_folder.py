"""Folders of torch.distributed.checkpoint: `.metadata` and one file a rank; tensors come whole, whatever ranks had saved.

The pieces are read here and not by dcp.load, whose arguments change with every torch (`no_dist` came and went), and which loads
values without weights_only. A piece is a torch.save file of its own inside the rank's file.
"""

from __future__ import annotations

import functools
import io
import math
import os
import pickle
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from detctl_proto.files.regular_file import open_regular

from detctl_checkpoints.archive_inspection import ArchiveError, inspect_archive
from detctl_checkpoints.content import Checkpoint, CheckpointError, Leaf, Unread, leaf_of, of_value
from detctl_checkpoints.dcp_index import read_index
from detctl_checkpoints.refused import format_refusal
from detctl_checkpoints.torch_file import check_reader

# The exceptions that loading a cut or altered piece raises.
_DAMAGE = (RuntimeError, EOFError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, MemoryError)


def load(path: str) -> Checkpoint:
    """Opens the folder. Raises CheckpointError if the index cannot be read; values in a missing or cut file are Unread."""
    index = read_index(path)
    try:
        pieces = _by_name(index)
        entries = [_entry(name, entry) for name, entry in index.state_dict_metadata.items()]
    except _DAMAGE:
        raise CheckpointError(
            "%s: damaged or not an index: its entries contradict themselves" % os.path.join(path, ".metadata")
        ) from None
    leaves: Dict[str, Callable[[], Leaf]] = {}
    for name, kind, tensor in entries:
        if tensor is not None:
            leaves[name] = functools.partial(_tensor, path, tensor, pieces.get(name, []))
        elif kind == "BytesStorageMetadata":
            # Read now, and not on request: a list is one value there, and several leaves in a file of torch.save.
            value = _value(path, pieces.get(name, []))
            for below, read in of_value(value).items():
                leaves[name if below == "." else "%s.%s" % (name, below)] = read
        else:
            leaves[name] = functools.partial(Unread, "a %s" % kind)
    return Checkpoint(path, "distributed", leaves)


class _Tensor(NamedTuple):
    """The index's entry of one tensor; chunks: offsets -> sizes."""

    size: Tuple[int, ...]
    dtype: Any
    chunks: Dict[Tuple[int, ...], Tuple[int, ...]]


class _Place(NamedTuple):
    """The place of one saved object's bytes; transforms: names of the transformations of these bytes."""

    file: str
    offset: int
    length: int
    transforms: Tuple[str, ...]


def _entry(name: Any, entry: Any) -> Tuple[str, str, Optional[_Tensor]]:
    """(name, kind, entry of a tensor or None). Raises an exception of _DAMAGE if a type is not one of an index."""
    import torch

    kind = type(entry).__name__
    if not isinstance(name, str):
        raise TypeError("a name")
    if kind != "TensorStorageMetadata":
        return name, kind, None
    if not isinstance(entry.properties.dtype, torch.dtype):
        raise TypeError("a dtype")
    chunks = {_sizes(chunk.offsets): _sizes(chunk.sizes) for chunk in entry.chunks}
    return name, kind, _Tensor(_sizes(entry.size), entry.properties.dtype, chunks)


def _by_name(index: Any) -> Dict[str, List[Tuple[Tuple[int, ...], _Place]]]:
    """Name -> [(offsets, where its bytes lie)]. Raises an exception of _DAMAGE."""
    found: Dict[str, List[Tuple[Tuple[int, ...], _Place]]] = {}
    for key, place in index.storage_data.items():
        transforms = tuple(str(one) for one in getattr(place, "transform_descriptors", None) or ())
        offset, length = _sizes((place.offset, place.length))
        row = (_sizes(key.offset or ()), _Place(str(place.relative_path), offset, length, transforms))
        found.setdefault(key.fqn, []).append(row)
    return found


def _sizes(numbers: Any) -> Tuple[int, ...]:
    found = tuple(numbers)
    for number in found:
        if type(number) is not int or not 0 <= number < 1 << 63:
            raise ValueError("%r is not a size" % number)
    return found


def _value(path: str, pieces: List[Tuple[Tuple[int, ...], _Place]]) -> Leaf:
    if not pieces:
        return Unread("the index does not state its place")
    try:
        return _piece(path, pieces[0][1])
    except CheckpointError as error:
        return Unread(str(error))


def _tensor(path: str, entry: _Tensor, pieces: List[Tuple[Tuple[int, ...], _Place]]) -> Leaf:
    """The whole tensor from its pieces; Unread if they do not cover it."""
    import torch

    places = dict(pieces)
    count = math.prod(entry.size)
    parts = []
    for offsets, sizes in entry.chunks.items():
        place = places.get(offsets) or (places.get(()) if len(entry.chunks) == 1 else None)
        if place is None:
            return Unread("the index does not state the place of its piece at %s" % list(offsets))
        if not len(offsets) == len(sizes) == len(entry.size):
            return Unread("its piece at %s contradicts the index" % list(offsets))
        if any(start + size > of for start, size, of in zip(offsets, sizes, entry.size)):  # noqa: B905
            return Unread("its piece at %s lies outside of it" % list(offsets))
        parts.append((offsets, sizes, place))
    # Before memory is taken: an index can claim any size.
    covered = sum(math.prod(sizes) for _, sizes, _ in parts)
    if covered != count:
        return Unread("its pieces hold %d of %d elements" % (covered, count))
    whole = None
    for offsets, sizes, place in parts:
        try:
            part = _piece(path, place)
        except CheckpointError as error:
            return Unread(str(error))
        if not isinstance(part, torch.Tensor) or tuple(part.shape) != sizes or part.dtype != entry.dtype:
            return Unread("its piece at %s contradicts the index" % list(offsets))
        part = leaf_of(part)
        if isinstance(part, Unread):
            return part
        if sizes == entry.size:
            return part
        if whole is None:
            whole = torch.empty(entry.size, dtype=entry.dtype)
        whole[tuple(slice(start, start + size) for start, size in zip(offsets, sizes))] = part  # noqa: B905
    return torch.empty(entry.size, dtype=entry.dtype) if whole is None else whole


def _piece(path: str, place: _Place) -> Any:
    """One saved object. Raises CheckpointError with one line."""
    import torch

    name = place.file
    file = os.path.normpath(os.path.join(path, name))
    if os.path.isabs(name) or not file.startswith(os.path.normpath(path) + os.sep):
        raise CheckpointError("%s lies outside of the folder" % name)
    if place.transforms:
        raise CheckpointError("%s is stored transformed (%s)" % (name, ", ".join(place.transforms)))
    try:
        with open_regular(file, None, follow=True) as stream:
            if place.offset + place.length > os.fstat(stream.fileno()).st_size:
                raise CheckpointError("%s: cut" % name)
            stream.seek(place.offset)
            content = io.BytesIO(stream.read(place.length))
        check_reader(name, inspect_archive(content))
    except OSError as error:
        raise CheckpointError("%s: %s" % (name, error.strerror or error)) from None
    except ArchiveError as error:
        raise CheckpointError("%s: %s" % (name, error)) from None
    try:
        return torch.load(content, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError("%s: %s" % (name, format_refusal(str(error), []))) from None
    except _DAMAGE as error:
        raise CheckpointError("%s: damaged: %s" % (name, (str(error).splitlines() or [""])[0][:200])) from None
