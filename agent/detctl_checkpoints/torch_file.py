"""Files of torch.save, by torch.load with weights_only: containers, tensors and plain values, never code.

The file is opened once: torch loads the file that archive_inspection.py has inspected, even if the path leads elsewhere by then.
"""

from __future__ import annotations

import os
import pickle
from typing import Any, BinaryIO, List, Sequence, Tuple

from detctl_checkpoints.archive_inspection import ArchiveError, ArchiveFacts, inspect_archive
from detctl_checkpoints.content import Checkpoint, CheckpointError, of_value
from detctl_checkpoints.refused import allow, format_refusal

# The first version whose reader of the format before torch 1.6 honours weights_only.
LEGACY_TORCH = (2, 6)


def load(path: str, stream: BinaryIO, allowed: Sequence[str]) -> Checkpoint:
    """Loads an open file; path: for messages. Raises CheckpointError if it is not of torch.save, is cut, would run code, or holds a class
    that weights_only does not know."""
    import torch

    try:
        facts = inspect_archive(stream)
    except ArchiveError as error:
        raise CheckpointError("%s: %s" % (path, error)) from None
    check_reader(path, facts)
    allow(torch, allowed)
    place = "/proc/self/fd/%d" % stream.fileno()  # a name that torch can map, and that always leads to this file
    if not os.path.exists(place):
        raise CheckpointError("%s: cannot be read without /proc: mount it" % path)
    try:
        value = _load(torch, place, facts)
    except pickle.UnpicklingError as error:
        raise CheckpointError("%s: %s" % (path, format_refusal(str(error), _refused(torch, place)))) from None
    except RuntimeError as error:
        text = (str(error).splitlines() or [""])[0].split(". ")[0].replace(place, path)
        raise CheckpointError("%s: damaged or cut: %s" % (path, text)) from None
    except (EOFError, ValueError, LookupError, AttributeError, TypeError, ArithmeticError, MemoryError):
        raise CheckpointError("%s: damaged, or neither a torch.save nor a safetensors file" % path) from None
    return Checkpoint(path, "torch.save", of_value(value))


def check_reader(name: str, facts: ArchiveFacts) -> None:
    """Raises CheckpointError if this torch's reader of such a file is not safe."""
    import torch

    if facts.format != "zip" and _release(torch.__version__) < LEGACY_TORCH:
        text = "%s: it has the format before torch 1.6, which torch %s does not read safely: name a newer torch with --python"
        raise CheckpointError(text % (name, torch.__version__))


def _release(version: str) -> Tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())


def _load(torch: Any, place: str, facts: ArchiveFacts) -> Any:
    if facts.format == "zip":
        return torch.load(place, map_location="cpu", weights_only=True, mmap=True)
    return torch.load(place, map_location="cpu", weights_only=True)  # the format before torch 1.6 has no map


def _refused(torch: Any, place: str) -> List[str]:
    """Every class of the file that is not allowed; [] if this torch cannot list them."""
    try:
        return list(torch.serialization.get_unsafe_globals_in_checkpoint(place))
    except (AttributeError, RuntimeError, ValueError, pickle.UnpicklingError, EOFError, LookupError, TypeError):
        return []
