"""Describes the classes that weights_only refuses, and how the user may allow them knowingly."""

from __future__ import annotations

import importlib
import re
from typing import Any, List, Sequence

from detctl_checkpoints.content import CheckpointError

# Modules that a malicious file would call.
NEVER = (
    "os", "posix", "nt", "sys", "subprocess", "builtins", "__builtin__", "importlib", "runpy", "shutil", "socket", "pty", "code", "pickle",
    "_pickle", "ctypes", "operator",
)  # fmt: skip
# Builtins that only hold data.
_HARMLESS = frozenset(
    "builtins." + name for name in ("slice", "range", "frozenset", "complex", "bytearray", "object", "set")
)
# `--allow-class numpy`: the classes in pickles of numpy's arrays and scalars, under the names of numpy 1 and 2.
_NUMPY = ("ndarray", "dtype")
_NUMPY_INNER = ("_reconstruct", "scalar")
_CLASS = re.compile(
    r"GLOBAL ([\w.]+)|Unsupported class ([\w.]+)|add_safe_globals\(\[([\w.]+)\]\)|got <class '([\w.]+)'>"
)


def format_refusal(text: str, all_of_them: Sequence[str]) -> str:
    """One line for torch's error; all_of_them: every class of the file that is not allowed, [] if torch cannot list them."""
    found = _CLASS.search(text)
    named = [group for group in found.groups() if group] if found else []
    classes = sorted(set(all_of_them) | set(named))
    if not classes:
        return "neither a torch.save nor a safetensors file"
    harmful = [name for name in classes if _runs_code(name)]
    if harmful:
        return "it holds %s: loading it would run code; it is not loaded" % ", ".join(harmful)
    options = ["numpy" if name.partition(".")[0] == "numpy" else name for name in classes]
    allow = " ".join("--allow-class %s" % name for name in dict.fromkeys(options))
    return "it holds %s, which weights_only loading does not know; if you trust it: %s" % (", ".join(classes), allow)


def allow(torch: Any, names: Sequence[str]) -> None:
    """Allows these classes in this process. Raises CheckpointError."""
    if names and not hasattr(torch.serialization, "add_safe_globals"):
        raise CheckpointError("--allow-class needs torch 2.4 or newer, and this is %s" % torch.__version__)
    takes_names = hasattr(torch.serialization, "get_unsafe_globals_in_checkpoint")  # 2.6, as (object, name)
    for name in names:
        torch.serialization.add_safe_globals(_numpy(takes_names) if name == "numpy" else [_named(name)])


def _runs_code(name: str) -> bool:
    return name.partition(".")[0] in NEVER and name not in _HARMLESS


def _named(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    if _runs_code(name):
        raise CheckpointError("--allow-class %s: detctl never allows a class that can run code" % name)
    if not module:
        raise CheckpointError("--allow-class %s: write MODULE.CLASS, or numpy for its arrays" % name)
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise CheckpointError("--allow-class %s: %s" % (name, error)) from None
    if getattr(found, "__module__", "").partition(".")[0] in NEVER and not isinstance(found, type):
        raise CheckpointError("--allow-class %s: detctl never allows a class that can run code" % name)
    return found


def _numpy(takes_names: bool) -> List[Any]:
    try:
        import numpy
    except ImportError as error:
        raise CheckpointError("--allow-class numpy: %s" % error) from None
    inner = getattr(numpy, "_core", None) or numpy.core
    allowed: List[Any] = [getattr(numpy, name) for name in _NUMPY]
    for name in _NUMPY_INNER:
        function = getattr(inner.multiarray, name)
        allowed.append(function)
        # A file of numpy 1 names numpy.core, one of numpy 2 numpy._core.
        if takes_names:
            allowed.append((function, "numpy.core.multiarray.%s" % name))
            allowed.append((function, "numpy._core.multiarray.%s" % name))
    kinds = getattr(numpy, "dtypes", None)
    return allowed + [getattr(kinds, name) for name in dir(kinds) if name.endswith("DType") and name != "ObjectDType"]
