"""The digest n6.v1: 128 bits over the logical row-major content of a tensor, whatever its layout or device.

The reference form is the specification in code (numpy where the process has it, else torch's integers); the C kernel
gives the same values about twenty times faster. For the word x (0 <= x < 2^32) at logical index i of the whole tensor, modulo 2^64:

    k = i*G + S0
    p = (lo32(k) xor x) * (hi32(k) or 1) + k
    q = p xor (p >> 32)
    r = lo32(q)*KA + rotr64(q, 32)
    h = r >> 32      a = r xor h      b = lo32(r)*h       D = (sum a, sum b)

A word is one element, zero-extended; 8-byte types give two (low half first); bool is 0/1, complex is viewed as real. It is a
sum: order of threads and shards is irrelevant. It is not a signature: whoever wants a collision can make one.
docs/digest.md has test vectors and the reasons.
"""

from __future__ import annotations

import ctypes
import struct
import sys
from array import array
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

from detctl_probe.digest import kernel, n6_numpy, n6_torch

SCHEME = "n6.v1"
EMPTY = bytes(16)
KERNEL = kernel.load()
_LANES = struct.Struct("<QQ")


class NoDigestError(ValueError):
    """This value has no n6 digest (sparse, quantised, meta, a subclass without storage); the message is the reason."""


def digest_array(array: Any, first_index: int = 0) -> bytes:
    """16 bytes over a numpy array of a dense numeric or bool dtype, any strides; first_index counts words."""
    words = n6_numpy.words_of(array)
    if KERNEL is not None:
        return KERNEL.sums(words.ctypes.data, words.size, words.itemsize, first_index)
    return _LANES.pack(*n6_numpy.sums(words, first_index))


def digest_tensor(tensor: Any, first_index: int = 0) -> bytes:
    """16 bytes over a dense torch tensor, any layout; first_index counts words. Raises NoDigestError."""
    return digest_in_place(tensor, first_index) or _digest_converted(tensor, first_index)


def digest_in_place(tensor: Any, first_index: int = 0) -> Optional[bytes]:
    """digest_tensor if the kernel can read the tensor's own memory, so that no operator of torch is called; else None."""
    if KERNEL is not None:
        width = _width_in_place(tensor)
        if width:
            return KERNEL.sums(tensor.data_ptr(), tensor.numel(), width, first_index)
    return None


def digest_runs(tensor: Any, first_index: int, runs: int, stride: int) -> bytes:
    """digest_tensor of a part of a tensor: `runs` equal runs of its content, whose words start at first_index, + stride, + 2 stride …

    Raises NoDigestError.
    """
    if runs == 1:
        return digest_tensor(tensor, first_index)
    plain = as_integers(tensor)
    if runs == 0 or plain.numel() == 0:
        return EMPTY
    if KERNEL is not None and plain.device.type == "cpu":
        return KERNEL.runs(plain.data_ptr(), runs, plain.numel() // runs, plain.element_size(), first_index, stride)
    a = b = 0
    for run, part in enumerate(plain.reshape(runs, -1)):
        left, right = _LANES.unpack(_digest_converted(part, first_index + run * stride))
        a, b = a + left, b + right
    return _LANES.pack(a & _MASK, b & _MASK)


def digest_tensors(tensors: Sequence[Any]) -> List[Union[bytes, NoDigestError]]:
    """digest_tensor of each, or why it has none; those that lie contiguous on the CPU go in one call of the kernel."""
    found: List[Any] = []
    places: List[int] = []
    table = array("Q")
    for place, tensor in enumerate(tensors):
        width = _width_in_place(tensor) if KERNEL is not None else 0
        if width:
            places.append(place)
            table.extend((tensor.data_ptr(), tensor.numel(), width, 0))
            found.append(None)
            continue
        try:
            found.append(_digest_converted(tensor, 0))
        except NoDigestError as why:
            found.append(why)
    if places and KERNEL is not None:
        for place, digest in zip(places, KERNEL.many(table)):  # noqa: B905 - strict came with Python 3.10
            found[place] = digest
    return found


def _width_in_place(tensor: Any) -> int:
    """Bytes of an item if the kernel can read the tensor's own memory; 0 if it must be converted first, or has no content."""
    if not _widths:
        torch = sys.modules["torch"]
        for width, names in _PLAIN_DTYPES:
            _widths.update((getattr(torch, name), width) for name in names)
        _strided.append(torch.strided)
    width = _widths.get(tensor.dtype, 0)
    if width and tensor.is_cpu and tensor.layout is _strided[0] and tensor.is_contiguous() and not tensor.is_neg():
        return width
    return 0


_PLAIN_DTYPES = (
    (1, ("bool", "uint8", "int8")),
    (2, ("float16", "bfloat16", "int16")),
    (4, ("float32", "int32")),
    (8, ("float64", "int64")),
)
_widths: Dict[Any, int] = {}
_strided: List[Any] = []


def _digest_converted(tensor: Any, first_index: int) -> bytes:
    plain = as_integers(tensor)
    if KERNEL is not None and plain.device.type == "cpu":
        return KERNEL.sums(plain.data_ptr(), plain.numel(), plain.element_size(), first_index)
    words = _numpy_words(plain)
    if words is not None:
        return _LANES.pack(*n6_numpy.sums(words, first_index))
    return _LANES.pack(*n6_torch.sums(plain, first_index))


def digest_rows_tensor(tensor: Any) -> Tuple[bytes, ...]:
    """One 16-byte digest a row (slice of the first dimension), each with the index starting at 0. Raises NoDigestError."""
    if tensor.dim() == 0:
        return (digest_tensor(tensor),)
    count = int(tensor.shape[0])
    if count == 0:
        return ()
    plain = as_integers(tensor)
    if KERNEL is not None and plain.device.type == "cpu":
        return KERNEL.rows(plain.data_ptr(), count, plain.numel() // count, plain.element_size())
    words = _numpy_words(plain)
    if words is not None:
        return n6_numpy.row_digests(words.reshape(count, -1))
    return tuple(_LANES.pack(*n6_torch.sums(row, 0)) for row in plain)


def digest_rows_array(array: Any) -> Tuple[bytes, ...]:
    """One 16-byte digest a slice of the first dimension of a numpy array."""
    count = int(array.shape[0]) if array.ndim else 1
    if count == 0:
        return ()
    words = n6_numpy.words_of(array)
    if KERNEL is not None:
        return KERNEL.rows(words.ctypes.data, count, words.size // count, words.itemsize)
    return n6_numpy.row_digests(words.reshape(count, -1))


def fold_rows(rows: Sequence[bytes]) -> Tuple[bytes, bytes]:
    """(digest, order-blind digest), 16 bytes each, of rows of 16 bytes.

    The first is n6 over all their words as one tensor; the second, the same for the same rows in any order, is the sum of n6
    over each row's four words.
    """
    if not rows:
        return EMPTY, EMPTY
    joined = b"".join(rows)
    a = b = 0
    if KERNEL is not None:
        held = ctypes.create_string_buffer(joined, len(joined))
        address = ctypes.addressof(held)
        lanes = struct.unpack("<%dQ" % (2 * len(rows)), b"".join(KERNEL.rows(address, len(rows), 4, 4)))
        a, b = sum(lanes[::2]), sum(lanes[1::2])
        return KERNEL.sums(address, 4 * len(rows), 4, 0), _LANES.pack(a & _MASK, b & _MASK)
    whole_a = whole_b = 0
    for index, word in enumerate(struct.unpack("<%dI" % (4 * len(rows)), joined)):
        left, right = _word(index, word)
        whole_a, whole_b = whole_a + left, whole_b + right
        if index >= 4:
            left, right = _word(index % 4, word)
        a, b = a + left, b + right
    return _LANES.pack(whole_a & _MASK, whole_b & _MASK), _LANES.pack(a & _MASK, b & _MASK)


def digest_rows(rows: Sequence[bytes]) -> bytes:
    """16 bytes over rows of 16 bytes, in their order; see fold_rows."""
    return fold_rows(rows)[0]


def order_blind(rows: Sequence[bytes]) -> bytes:
    """16 bytes, the same for the same rows in any order; see fold_rows."""
    return fold_rows(rows)[1]


_MASK = (1 << 64) - 1
_LOW = (1 << 32) - 1
_G = 0x9E3779B97F4A7C15
_S0 = 0x243F6A8885A308D3
_KA = 0x9E3779B1


def _word(index: int, word: int) -> Tuple[int, int]:
    """(a, b) of one word in plain Python: the definition to the letter, and enough for short rows."""
    k = (index * _G + _S0) & _MASK
    p = (((k & _LOW) ^ word) * ((k >> 32) | 1) + k) & _MASK
    q = p ^ (p >> 32)
    r = ((q & _LOW) * _KA + ((q >> 32) | ((q & _LOW) << 32))) & _MASK
    h = r >> 32
    return r ^ h, (r & _LOW) * h


def refuse_unfit(tensor: Any) -> None:
    """Raises NoDigestError for a tensor without dense content."""
    if tensor.layout is not sys.modules["torch"].strided:
        raise NoDigestError("its layout is %s" % tensor.layout)
    if tensor.is_quantized:
        raise NoDigestError("quantised")
    if tensor.device.type == "meta":
        raise NoDigestError("it is a meta tensor, which has no content")


def as_integers(tensor: Any) -> Any:
    """The tensor's logical content as a contiguous detached integer tensor with one item a word (int64: two). Raises NoDigestError."""
    torch = sys.modules["torch"]
    refuse_unfit(tensor)
    plain = tensor.detach()
    if plain.is_complex():
        plain = torch.view_as_real(plain.resolve_conj())
    plain = plain.resolve_neg()
    if not plain.is_contiguous():
        plain = plain.contiguous()
    width = plain.element_size()
    kinds = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    if width not in kinds:
        raise NoDigestError("its elements have %d bytes" % width)
    return plain.view(kinds[width]) if plain.dtype is not kinds[width] else plain


def _numpy_words(plain: Any) -> Optional[Any]:
    """The integer tensor as a flat numpy array of unsigned words; None if the process has no numpy."""
    if "numpy" not in sys.modules:
        return None
    try:
        array = plain.cpu().numpy()
    except RuntimeError:  # torch was built against another numpy
        return None
    return n6_numpy.words_of(array)
