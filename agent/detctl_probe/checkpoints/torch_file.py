"""Files of torch.save, by torch.load with weights_only: containers, tensors and plain values, never code."""

from __future__ import annotations

import pickle
from typing import Any, List, Sequence

from detctl_probe.checkpoints.content import Checkpoint, CheckpointError, of_value
from detctl_probe.checkpoints.refused import allow, refused_words


def load(path: str, allowed: Sequence[str]) -> Checkpoint:
    """Raises CheckpointError where it is none, is cut, or holds a class that weights_only does not know."""
    import torch

    allow(torch, allowed)
    try:
        value = _load(torch, path)
    except pickle.UnpicklingError as error:
        raise CheckpointError("%s: %s" % (path, refused_words(str(error), _refused(torch, path)))) from None
    except RuntimeError as error:
        if "TorchScript" in str(error):
            raise CheckpointError("%s: a TorchScript archive: it holds code; save its state_dict()" % path) from None
        raise CheckpointError("%s: damaged or cut: %s" % (path, str(error).split(". ")[0].splitlines()[0])) from None
    except (EOFError, ValueError, LookupError, AttributeError, TypeError):
        raise CheckpointError("%s: damaged, or neither a torch.save nor a safetensors file" % path) from None
    return Checkpoint(path, "torch.save", of_value(value))


def _load(torch: Any, path: str) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError as error:
        if "mmap can only" not in str(error):
            raise
        return torch.load(path, map_location="cpu", weights_only=True)  # the format before torch 1.6 has no map


def _refused(torch: Any, path: str) -> List[str]:
    """Every class of the file that is not allowed, [] where this torch cannot tell."""
    try:
        return list(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except (AttributeError, RuntimeError, ValueError, pickle.UnpicklingError, EOFError, LookupError, TypeError):
        return []
