"""Fused attention under `deterministic=on`: its kernels use their deterministic form only if `warn_only` is off.

For other operations `warn_only=True` selects the deterministic form, and warns if there is none. torch's flash and memory-efficient
attention behave differently: they warn and still add up gradients by atomics, and torch may still choose cuDNN's attention, which has no
deterministic form. So `warn_only` is off while attention is called and while the backward of that call runs. It is on for the rest of the
program, since missing forms would be errors there.
"""

from __future__ import annotations

import contextlib
import functools
from typing import Any, Dict, Iterator, List, Optional

from detctl_probe.observe.model import compiled

_DEPTH_MAX = 6  # nodes between attention's output and its kernel: slices of a padded head, transposes


class FusedAttention:
    """Wraps scaled_dot_product_attention; `report()` counts the calls that ran in their deterministic form."""

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
        """One line for each kind of fused attention, for the read-back."""
        lines = [
            "%s ran %d times in its deterministic form" % (name, count)
            for name, count in sorted(self._backwards.items())
        ]
        if self._refused:
            lines.append("attention ran %d times without a deterministic form" % self._refused)
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
        except (
            RuntimeError
        ):  # torch has chosen a kernel without a deterministic form: it runs as it is, like other operations
            self._refused += 1
            return original(*args, **kwargs)
        node = _kernel_node(getattr(out, "grad_fn", None))
        if node is not None:
            self._watch(node)
        return out

    def _watch(self, node: Any) -> None:
        """Switches `warn_only` off while the backward of this output runs."""
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
    """The autograd node of the fused attention kernel that made this output; None for the plain formula."""
    level = [node] if node is not None else []
    for _ in range(_DEPTH_MAX):
        for one in level:
            if "Attention" in one.name():
                return one
        level = [below for one in level for below, _ in one.next_functions[:1] if below is not None]
    return None
