"""Converts numbers of bytes to short text."""

from __future__ import annotations


def size_text(size: float) -> str:
    """Returns `0 B`, `1.4 MiB` and so on."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
