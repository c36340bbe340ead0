"""Delta debugging (Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input", 2002). Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def smallest(items: Sequence[T], acts: Callable[[Sequence[T]], bool | None]) -> list[T] | None:
    """Returns a minimal subset that acts: without any of its elements it does not. None: all items together do not act, or
    `acts` returned None (unknown)."""
    if not acts(items):
        return None
    left, parts = list(items), 2
    while len(left) > 1:
        size = -(-len(left) // parts)
        chunks = [left[at : at + size] for at in range(0, len(left), size)]
        without = [[item for item in left if item not in chunk] for chunk in chunks]
        tried = [*chunks, *(rest for rest in without if len(chunks) > 2)]
        for some in tried:
            answer = acts(some)
            if answer is None:
                return None
            if answer:
                left, parts = list(some), max(parts - 1, 2) if len(some) > size else 2
                break
        else:
            if parts >= len(left):
                break
            parts = min(parts * 2, len(left))
    return left
