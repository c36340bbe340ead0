"""Tensors inside what a module returned or an optimizer keeps, and the print of one.

Digests are taken with torch's function and dispatch modes off and Dynamo's frame evaluation paused, so that neither a user's
mode nor the compiler sees them; nothing here is tracked by autograd (detach), draws a random number or keeps a tensor.
"""

from __future__ import annotations

import sys
from hashlib import blake2b
from typing import Any, Dict, Iterator, Optional, Tuple

from detctl_probe.digest import Unfit, digest_tensor
from detctl_probe.prints import Print
from detctl_probe.sketch import sketch_tensor

DEPTH_MAX = 16
_dtypes: Dict[Any, str] = {}


def tensors(value: Any, path: str = "", depth: int = 0) -> Iterator[Tuple[str, Any]]:
    """Yields (path, tensor) in order: `[0]`, `[logits]`, `[0][hidden]`; one tensor alone has the path ``."""
    if isinstance(value, sys.modules["torch"].Tensor):
        yield path, value
    elif value is None or isinstance(value, (str, bytes, int, float)) or depth >= DEPTH_MAX:
        return
    elif isinstance(value, (list, tuple)):
        names = getattr(value, "_fields", None)
        for index, item in enumerate(value):
            yield from tensors(item, "%s[%s]" % (path, names[index] if names else index), depth + 1)
    elif hasattr(value, "items") and hasattr(value, "keys"):
        for key in list(value.keys()):
            yield from tensors(value[key], "%s[%s]" % (path, key), depth + 1)
    elif hasattr(value, "__dataclass_fields__"):
        for name in value.__dataclass_fields__:
            yield from tensors(getattr(value, name, None), "%s[%s]" % (path, name), depth + 1)


def print_tensor(tensor: Any, *, sketch: bool = False) -> Print:
    """The print of a tensor of any layout; raises Unfit (no content, a subclass without storage …)."""
    torch = sys.modules["torch"]
    with torch._C.DisableTorchFunction(), torch._C._DisableTorchDispatch():
        plain = _plain(torch, tensor)
        floating = plain.is_floating_point() or plain.is_complex()
        return Print(
            digest_tensor(plain),
            dtype_name(plain.dtype),
            tuple(int(size) for size in plain.shape),
            sketch=sketch_tensor(plain) if sketch and floating else None,
        )


def print_plain(value: Any) -> Print:
    """The print of a number, text, flag or None, by its type and repr."""
    text = repr(value).encode("utf-8", "surrogateescape")
    return Print(blake2b(text, digest_size=16).digest(), "py:%s" % type(value).__name__)


def layout(tensor: Any) -> Optional[Dict[str, Any]]:
    """Evidence: strides and address modulo 64, where they are not what a fresh contiguous tensor has."""
    try:
        align = tensor.data_ptr() % 64
        if align == 0 and tensor.is_contiguous():
            return None
        return {"layout": {"strides": list(tensor.stride()), "align": align}}
    except (RuntimeError, AttributeError, NotImplementedError):
        return None


def dtype_name(dtype: Any) -> str:
    """`float32` for torch.float32."""
    name = _dtypes.get(dtype)
    if name is None:
        name = _dtypes[dtype] = str(dtype).rpartition(".")[2]
    return name


def _plain(torch: Any, tensor: Any) -> Any:
    kind = type(tensor)
    if kind is torch.Tensor or kind is torch.nn.Parameter:
        return tensor.detach()
    if isinstance(tensor, torch.nn.parameter.UninitializedTensorMixin):
        raise Unfit("uninitialised: a lazy module before its first forward")
    # A subclass that dispatches in Python has no storage of its own (FakeTensor), or holds it elsewhere (DTensor).
    if kind.__torch_dispatch__ is not torch._C._disabled_torch_dispatch_impl:
        local = getattr(tensor, "_local_tensor", None)
        if kind.__name__ == "DTensor" and local is not None:
            return local.detach()
        raise Unfit("a %s" % kind.__name__)
    return tensor.as_subclass(torch.Tensor).detach()
