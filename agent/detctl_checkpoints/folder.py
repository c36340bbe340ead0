"""Folders as training frameworks and the hub write them: weights in shards with an index, and files of the optimizer beside them.

Weights keep their names; values of another file get its name as a prefix (`optimizer.pt` → `optimizer.state.0.exp_avg`).
No checkpoint in the folder is skipped silently: one that cannot be read is Unread under its file's name.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
from typing import Any, Callable, Dict, List

from detctl_proto.files.regular_file import RegularFileError, open_regular, read_regular

from detctl_checkpoints.content import Checkpoint, CheckpointError, Unread

FILES_MAX = 100_000
INDEX_BYTES_MAX = 64 << 20
TORCH_ENDINGS = (".bin", ".pt", ".pth", ".ckpt")
# Random states beside the model, as Trainer of Hugging Face (`rng_state.pth`, `rng_state_0.pth`) and accelerate write them, by torch.save.
_RANDOM_STATES = re.compile(r"^(rng_state\w*\.pth|random_states_\d+\.pkl)$")
_SHARD = re.compile(r"-\d+-of-\d+\.\w+$")
_WEIGHTS = re.compile(r"^(pytorch_model|model)\b.*\.bin$")
Open = Callable[[str], Checkpoint]


def load(path: str, open_file: Open) -> Checkpoint:
    """Opens a folder; open_file opens one file. Raises CheckpointError if the folder holds no known file, or a name twice."""
    names = _names(path)
    indexes = [name for name in names if name.endswith(".index.json")]
    safe = [name for name in names if name.endswith(".safetensors")]
    saved = [name for name in names if name.endswith(TORCH_ENDINGS) or holds_random_states(name)]
    hub = [name for name in saved if _WEIGHTS.match(name) or _SHARD.search(name)]
    safe_index = [name for name in indexes if name.endswith(".safetensors.index.json")]
    weights, weights_index = (safe, safe_index) if safe or safe_index else (hub, [n for n in indexes if ".bin." in n])
    rest = [name for name in saved if name not in hub]
    if not weights and not weights_index and len(rest) == 1:
        weights, rest = rest, []  # one file, whatever it is called, is the checkpoint
    if not weights and not weights_index and not rest:
        text = "%s: no checkpoint in this folder (.metadata, *.safetensors, *.bin, *.pt, *.pth or *.ckpt)"
        if any(name.endswith(".distcp") for name in names):
            text = (
                "%s: files of a distributed checkpoint without its .metadata, which is written last: saving did not end"
            )
        raise CheckpointError(text % path)
    whole = Checkpoint(path, "safetensors" if (weights and weights[0] in safe) or safe_index else "torch.save", {})
    expected = _index(path, weights_index, whole)
    if expected:
        weights = sorted(set(expected.values()))
    for name in weights:
        if not os.path.isfile(os.path.join(path, name)):
            whole.notes.append("%s, which the index names, is missing" % name)
            continue
        try:
            part = open_file(os.path.join(path, name))
        except CheckpointError as error:
            if len(weights) == 1 and not rest:
                raise
            _add_unread(path, whole, name, error)
            continue
        _add(whole, part.leaves, "%s: %%s stands in several files: name one of them" % path)
    for name in expected:
        if name not in whole.leaves:
            whole.leaves[name] = functools.partial(Unread, "%s should hold it, but does not" % expected[name])
    if weights and weights[0] in safe and hub:
        whole.notes.append("%s is not read, because the weights are read from safetensors" % ", ".join(hub))
    if len(weights) > 1:
        whole.notes.append("%d files: %s" % (len(weights), ", ".join(weights[:4])))
    for name in rest:
        stem = name.rpartition(".")[0]
        try:
            part = open_file(os.path.join(path, name))
        except CheckpointError as error:
            _add_unread(path, whole, name, error)
        else:
            below = {stem if leaf == "." else "%s.%s" % (stem, leaf): read for leaf, read in part.leaves.items()}
            _add(whole, below, "%s: %%s stands in several files" % path)
    return whole


def _names(path: str) -> List[str]:
    """The files of the folder, sorted; links are followed. Raises CheckpointError beyond FILES_MAX."""
    found = []
    with os.scandir(path) as entries:
        for number, entry in enumerate(entries):
            if number >= FILES_MAX:
                raise CheckpointError("%s: more than %d files: name the checkpoint among them" % (path, FILES_MAX))
            if entry.is_file():
                found.append(entry.name)
    return sorted(found)


def holds_random_states(name: str) -> bool:
    """Whether a file of this name holds random states: arrays of numpy beside tensors."""
    return _RANDOM_STATES.match(name) is not None


def file_may_hold(file: str, name: str) -> bool:
    """Whether a leaf of this name may come from this file of a folder."""
    stem = file.rpartition(".")[0]
    weights = not (file.endswith(TORCH_ENDINGS) or holds_random_states(file)) or bool(
        _WEIGHTS.match(file) or _SHARD.search(file)
    )
    return weights or name == stem or name.startswith(stem + ".")


def _add(whole: Checkpoint, leaves: Dict[str, Any], twice: str) -> None:
    found = sorted(leaves.keys() & whole.leaves.keys())
    if found:
        raise CheckpointError(twice % found[0])
    whole.leaves.update(leaves)


def _index(path: str, indexes: List[str], whole: Checkpoint) -> Dict[str, str]:
    """Name of a weight -> its file, from the one index; {} if there is none. Raises CheckpointError."""
    if not indexes:
        return {}
    if len(indexes) > 1:
        raise CheckpointError("%s: several indexes (%s): name files" % (path, ", ".join(indexes)))
    index = os.path.join(path, indexes[0])
    try:
        found = json.loads(read_regular(index, INDEX_BYTES_MAX, follow=True).decode("utf-8"))["weight_map"]
        pairs = {str(name): str(file) for name, file in found.items()}
    except RegularFileError as error:
        raise CheckpointError(str(error)) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise CheckpointError("%s: not an index of shards: it has no weight_map" % index) from None
    outside = [
        file for file in pairs.values() if os.path.basename(file) != file or file in ("", ".", "..") or "\0" in file
    ]
    if outside:
        raise CheckpointError("%s: names %s, which lies outside of the folder" % (index, outside[0]))
    return pairs


def _add_unread(path: str, whole: Checkpoint, name: str, error: CheckpointError) -> None:
    """One leaf for a file that cannot be read; two such files of the same bytes are the same."""
    digest = hashlib.blake2b(digest_size=16)
    with open_regular(os.path.join(path, name), None, follow=True) as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    whole.leaves["(%s)" % name] = functools.partial(Unread, str(error), digest.hexdigest())
