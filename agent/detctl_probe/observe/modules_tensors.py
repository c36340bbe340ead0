"""Tensors inside what a module returned or an optimizer keeps, and the print of one.

Digests are taken with torch's function and dispatch modes off and Dynamo's frame evaluation paused, so that neither a user's
mode nor the compiler sees them; nothing here is tracked by autograd (detach), draws a random number or keeps a tensor.
"""

from __future__ import annotations

import sys
from hashlib import blake2b
from typing import Any, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple, Union

from detctl_probe.digest import Unfit, digest_tensor, digest_tensors
from detctl_probe.prints import Print
from detctl_probe.recorder import Observer, Recorder
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
            sketch=sketch_tensor(plain.detach()) if sketch and floating else None,
        )


Entry = Tuple[str, Any, Optional[Dict[str, Any]]]


def record_values(recorder: Recorder, row: Observer, stage: str, entries: Iterable[Entry], phase: str) -> None:
    """Records each (site, value, evidence) in order: tensors (a sparse one by its parts) by their content, the rest by print_plain.

    One call of the kernel for all; a tensor without a digest is reported unobserved.
    """
    with recorder.working():
        named: List[Entry] = []
        dense: List[Any] = []
        kind = sys.modules["torch"].Tensor
        for site, value, evidence in entries:
            if isinstance(value, kind):
                for part, tensor in components(value):
                    named.append((site + part, tensor, evidence))
                    dense.append(tensor)
            else:
                named.append((site, print_plain(value), evidence))
        prints = iter(print_tensors(dense))
        keeps = recorder.keeps_evidence
        seen = []
        for site, value, evidence in named:
            if type(value) is not Print:
                tensor, value = value, next(prints)
                if isinstance(value, Unfit):
                    recorder.unobserved(stage, site, str(value))
                    continue
                if keeps and evidence is None:
                    evidence = layout(tensor)
            seen.append((site, value, evidence if keeps else None))
        recorder.record_all(stage, seen, phase)
        row.fired += len(seen)


def components(tensor: Any) -> Iterator[Tuple[str, Any]]:
    """A sparse tensor's dense parts with a suffix each; a dense tensor itself. A component keeps the order it was made in."""
    if not tensor.is_sparse:
        yield "", tensor
        return
    yield "[indices]", tensor._indices()
    yield "[values]", tensor._values()


def print_tensors(values: Sequence[Any]) -> List[Union[Print, Unfit]]:
    """print_tensor of each, or why it has none."""
    torch = sys.modules["torch"]
    found: List[Any] = []
    plain: List[Any] = []
    with torch._C.DisableTorchFunction(), torch._C._DisableTorchDispatch():
        for tensor in values:
            try:
                plain.append(_plain(torch, tensor))
                found.append(plain[-1])
            except Unfit as why:
                found.append(why)
        digests = iter(digest_tensors(plain))
        for place, tensor in enumerate(found):
            if not isinstance(tensor, Unfit):
                digest = next(digests)
                found[place] = (
                    Print(digest, dtype_name(tensor.dtype), tuple(tensor.shape)) if type(digest) is bytes else digest
                )
    return found


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
        return tensor
    if isinstance(tensor, torch.nn.parameter.UninitializedTensorMixin):
        raise Unfit("uninitialised: a lazy module before its first forward")
    # A subclass that dispatches in Python has no storage of its own (FakeTensor), or holds it elsewhere (DTensor).
    if kind.__torch_dispatch__ is not torch._C._disabled_torch_dispatch_impl:
        local = getattr(tensor, "_local_tensor", None)
        if kind.__name__ == "DTensor" and local is not None:
            return local.detach()
        raise Unfit("a %s" % kind.__name__)
    return tensor.as_subclass(torch.Tensor).detach()
