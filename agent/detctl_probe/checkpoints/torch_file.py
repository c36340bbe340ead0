"""Files of torch.save, by torch.load with weights_only: containers, tensors and plain values, never code."""

from __future__ import annotations

import importlib
import pickle
import re
from typing import Any, Sequence

from detctl_probe.checkpoints.content import Checkpoint, CheckpointError, of_value

# What a file that means harm would call.
NEVER = (
    "os",
    "posix",
    "nt",
    "sys",
    "subprocess",
    "builtins",
    "importlib",
    "runpy",
    "shutil",
    "socket",
    "pty",
    "code",
    "pickle",
)
_CLASS = re.compile(r"GLOBAL ([\w.]+)|Unsupported class ([\w.]+)|add_safe_globals\(\[([\w.]+)\]\)")


def load(path: str, allowed: Sequence[str]) -> Checkpoint:
    """Raises CheckpointError where it is none, is cut, or holds a class that weights_only does not know."""
    import torch

    for name in allowed:
        torch.serialization.add_safe_globals([_named(name)])
    try:
        value = _load(torch, path)
    except pickle.UnpicklingError as error:
        found = _CLASS.search(str(error))
        what = next((group for group in found.groups() if group), "a class") if found else ""
        if what and what.partition(".")[0] in NEVER:
            raise CheckpointError(
                "%s: it holds %s: loading it would run code; it is not loaded" % (path, what)
            ) from None
        if what:
            text = "%s: it holds a %s, which weights_only loading does not know; if you trust it: --allow-class %s"
            raise CheckpointError(text % (path, what, what)) from None
        raise CheckpointError("%s: neither a torch.save nor a safetensors file" % path) from None
    except RuntimeError as error:
        raise CheckpointError("%s: damaged or cut: %s" % (path, str(error).split(". ")[0].splitlines()[0])) from None
    except (EOFError, ValueError, KeyError, IndexError, AttributeError, TypeError):
        raise CheckpointError("%s: damaged, or neither a torch.save nor a safetensors file" % path) from None
    return Checkpoint(path, "torch.save", of_value(value))


def _load(torch: Any, path: str) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError as error:
        if "mmap" not in str(error):
            raise
        return torch.load(path, map_location="cpu", weights_only=True)  # the format before torch 1.6 has no map


def _named(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    if module.partition(".")[0] in NEVER:
        raise CheckpointError("--allow-class %s: what runs code is never allowed" % name)
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise CheckpointError("--allow-class %s: %s" % (name, error)) from None
