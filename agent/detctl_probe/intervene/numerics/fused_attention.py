"""Fused attention under `deterministic=on`: its kernels take their deterministic form only where `warn_only` is off.

Everywhere else `warn_only=True` asks an operation for its deterministic form and warns where it has none. torch's flash and
memory-efficient attention read it otherwise: with it on they warn and add up gradients by atomics all the same, and cuDNN's, which
has no such form, may still be chosen. So it is off while attention is called, and while the backward of that call runs, and no longer:
for the rest of a program it would turn missing forms into errors.
"""

from __future__ import annotations

import contextlib
import functools
from typing import Any, Dict, Iterator, List, Optional

from detctl_probe.observe.model import compiled

_DEPTH_MAX = 6  # nodes between attention's output and its kernel: slices of a padded head, transposes


class FusedAttention:
    """Wraps scaled_dot_product_attention; `report()` says what ran in its deterministic form."""

    def __init__(self, torch: Any) -> None:
        self._torch = torch
        self._backwards: Dict[str, int] = {}
        self._refused = 0
        functional = torch.nn.functional
        original = functional.scaled_dot_product_attention
        is_compiling = compiled.compiling(torch)

        @functools.wraps(original)
        def scaled_dot_product_attention(*args: Any, **kwargs: Any) -> Any:
            if is_compiling() or not self._lenient():
                return original(*args, **kwargs)
            return self._attention(original, args, kwargs)

        functional.scaled_dot_product_attention = compiled.hide(scaled_dot_product_attention)

    def report(self) -> List[str]:
        """A line for each kind of fused attention, for the read-back."""
        lines = [
            "%s %d times in its deterministic form" % (name, count) for name, count in sorted(self._backwards.items())
        ]
        if self._refused:
            lines.append("attention %d times without a deterministic form" % self._refused)
        return lines

    def _lenient(self) -> bool:
        torch = self._torch
        return bool(
            torch.are_deterministic_algorithms_enabled() and torch.is_deterministic_algorithms_warn_only_enabled()
        )

    def _attention(self, original: Any, args: Any, kwargs: Any) -> Any:
        try:
            with self._strict():
                out = original(*args, **kwargs)
        except RuntimeError:  # what is chosen here has no deterministic form: as everywhere, it then runs as it is
            self._refused += 1
            return original(*args, **kwargs)
        node = _kernel_node(getattr(out, "grad_fn", None))
        if node is not None:
            self._watch(node)
        return out

    def _watch(self, node: Any) -> None:
        """Its backward runs strictly."""
        name = node.name()

        def before(_: Any) -> None:
            self._backwards[name] = self._backwards.get(name, 0) + 1
            self._set(warn_only=False)

        def after(_: Any, __: Any) -> None:
            self._set(warn_only=True)

        node.register_prehook(before)
        node.register_hook(after)

    @contextlib.contextmanager
    def _strict(self) -> Iterator[None]:
        self._set(warn_only=False)
        try:
            yield
        finally:
            self._set(warn_only=True)

    def _set(self, warn_only: bool) -> None:
        # Past torch.use_deterministic_algorithms, which also changes what Inductor compiles.
        self._torch._C._set_deterministic_algorithms(True, warn_only=warn_only)


def _kernel_node(node: Optional[Any]) -> Optional[Any]:
    """The node of a fused attention kernel that made this output; None where it was the plain formula."""
    level = [node] if node is not None else []
    for _ in range(_DEPTH_MAX):
        for one in level:
            if "Attention" in one.name():
                return one
        level = [below for one in level for below, _ in one.next_functions[:1] if below is not None]
    return None
