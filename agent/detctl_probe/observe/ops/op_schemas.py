"""Reads the schema of an ATen operation: whether it needs a record, what it writes to, whether it draws. Formats its arguments."""

from __future__ import annotations

import sys
from typing import Any, Dict, List, Sequence

# They return memory that nobody has written yet: its content is arbitrary, and not the result of an operation.
UNWRITTEN = (
    "empty",
    "empty_like",
    "empty_strided",
    "empty_permuted",
    "new_empty",
    "new_empty_strided",
    "resize_",
    "set_",
)
# These write all of their first argument and read none of it: what it held before is not an input (mostly fresh memory).
OVERWRITING = (
    "copy_", "fill_", "zero_", "uniform_", "normal_", "random_", "bernoulli_", "exponential_", "geometric_", "cauchy_",
    "log_normal_", "eye_", "_foreach_zero_", "_foreach_copy_",
)  # fmt: skip
# These return buffers beside their results that no kernel writes.
KEPT_OUTPUTS = {
    "_scaled_dot_product_flash_attention": (0, 1),
    "_scaled_dot_product_efficient_attention": (0, 1),
    "_scaled_dot_product_cudnn_attention": (0, 1),
    "cudnn_batch_norm": (0, 1, 2),
    "_native_batch_norm_legit": (0, 1, 2),
    "_batch_norm_with_update": (0, 1, 2),
}
# A collective has not ended when its call returns: stage collective records its result.
COLLECTIVES = ("c10d", "_c10d_functional", "c10d_functional")
ARGUMENTS_TEXT_MAX = 200
DEPTH_MAX = 4


class Schema:
    """silent: no record (views, queries, unwritten memory). draws: uses a random generator."""

    def __init__(self, op: Any) -> None:
        namespace, _, name = op._schema.name.rpartition("::")
        arguments, returns = op._schema.arguments, op._schema.returns
        self._written = [
            (place, one.name)
            for place, one in enumerate(arguments)
            if one.alias_info is not None and one.alias_info.is_write
        ]
        self._unread = [
            (place, one.name)
            for place, one in enumerate(arguments)
            if getattr(one, "is_out", False) or (name in OVERWRITING and not place)
        ]
        is_view = any(one.alias_info is not None and not one.alias_info.is_write for one in returns)
        self.silent = (
            name in UNWRITTEN
            or namespace in COLLECTIVES
            or (is_view and not self._written)
            or not (returns or self._written)
        )
        tag = getattr(sys.modules["torch"], "Tag", None)
        self.draws = getattr(tag, "nondeterministic_seeded", None) in getattr(op, "tags", ())
        self._kept = KEPT_OUTPUTS.get(name)

    def inputs(self, args: Sequence[Any], kwargs: Dict[str, Any]) -> List[Any]:
        """Tensors that the operation reads."""
        if not self._unread:
            return tensors_of((args, kwargs))
        places, names = {place for place, _ in self._unread}, {name for _, name in self._unread}
        read = [value for place, value in enumerate(args) if place not in places]
        return tensors_of((read, {name: value for name, value in kwargs.items() if name not in names}))

    def written(self, args: Sequence[Any], kwargs: Dict[str, Any]) -> List[Any]:
        """Tensors that the operation writes to, in the order of its arguments."""
        return tensors_of([args[place] if place < len(args) else kwargs.get(name) for place, name in self._written])

    def kept(self, outputs: List[Any]) -> List[Any]:
        """Outputs that hold results."""
        if self._kept is None:
            return outputs
        return [outputs[place] for place in self._kept if place < len(outputs)]


_schemas: Dict[Any, Schema] = {}


def schema_of(op: Any) -> Schema:
    """The schema of an OpOverload, read once."""
    found = _schemas.get(op)
    if found is None:
        found = _schemas[op] = Schema(op)
    return found


def tensors_of(value: Any) -> List[Any]:
    """Tensors in lists, tuples and dicts, in order."""
    found: List[Any] = []
    _collect(value, sys.modules["torch"].Tensor, found, 0)
    return found


def _collect(value: Any, kind: Any, found: List[Any], depth: int) -> None:
    if isinstance(value, kind):
        found.append(value)
    elif depth < DEPTH_MAX and isinstance(value, (list, tuple)):
        for item in value:
            _collect(item, kind, found, depth + 1)
    elif depth < DEPTH_MAX and isinstance(value, dict):
        for item in value.values():
            _collect(item, kind, found, depth + 1)


def format_arguments(args: Sequence[Any], kwargs: Dict[str, Any]) -> str:
    """The arguments as short text, the same in every process: `T` for a tensor, `G` for a generator, no addresses."""
    parts = [_word(value, 0) for value in args] + ["%s=%s" % (name, _word(value, 0)) for name, value in kwargs.items()]
    return ("(%s)" % ", ".join(parts))[:ARGUMENTS_TEXT_MAX]


def _word(value: Any, depth: int) -> str:
    torch = sys.modules["torch"]
    if isinstance(value, torch.Tensor):
        return "T"
    if isinstance(value, torch.Generator):
        return "G"
    if value is None or isinstance(value, (bool, int, float, complex, str, torch.dtype, torch.device, torch.layout)):
        return repr(value)
    if isinstance(value, torch.memory_format):
        return str(value)
    if isinstance(value, (list, tuple)) and len(value) > 1 and all(isinstance(item, torch.Tensor) for item in value):
        return "[T x %d]" % len(value)  # short, so that a learning rate behind many of them is not cut off
    if isinstance(value, (list, tuple)) and depth < DEPTH_MAX:
        return "[%s]" % ", ".join(_word(item, depth + 1) for item in value[:16])
    return type(value).__name__
