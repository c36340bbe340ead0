"""Rows of the table that n6_triton.add_sums reads, and the pieces of a tensor that must be copied for it."""

from __future__ import annotations

from typing import Any, Iterator, Tuple

from detctl_probe.digest.n6 import refuse_unfit

Row = Tuple[int, int, int, int]  # address, count of words, bytes of a word, first index


def row_of(plain: Any, first_index: int) -> Row:
    """A row of the table for an integer tensor of as_integers."""
    words, width = plain.numel(), plain.element_size()
    if width == 8:
        words, width = 2 * words, 4
    return plain.data_ptr(), words, width, first_index


def copied_bytes(tensor: Any) -> int:
    """Bytes that as_integers would copy; 0 if it reads the tensor's own memory, or has nothing to read. Raises NoDigestError too."""
    refuse_unfit(tensor)
    if tensor.is_contiguous() and not tensor.is_conj() and not tensor.is_neg():
        return 0
    return int(tensor.numel() * tensor.element_size())


def pieces_of(tensor: Any, bytes_max: int) -> Iterator[Any]:
    """Views of a tensor's parts in logical order, of bytes_max at most each."""
    size = tensor.numel() * tensor.element_size()
    if size <= bytes_max or tensor.dim() == 0:
        yield tensor
        return
    count = tensor.shape[0]
    fit = bytes_max // (size // count)
    if fit == 0:
        for part in tensor:
            yield from pieces_of(part, bytes_max)
        return
    for start in range(0, count, fit):
        yield tensor[start : start + fit]
