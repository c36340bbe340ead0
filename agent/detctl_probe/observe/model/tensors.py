"""Finds the tensors in what a module returned or an optimizer keeps, and fingerprints them.

Digests are taken with torch's function and dispatch modes off and Dynamo's frame evaluation paused, so that neither a user's
mode nor the compiler sees them; nothing here is tracked by autograd (detach), draws a random number or keeps a tensor.
"""

from __future__ import annotations

import sys
from hashlib import blake2b
from typing import Any, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple, Union

from detctl_probe.digest import device_digests
from detctl_probe.digest.fingerprint import Fingerprint
from detctl_probe.digest.n6 import NoDigestError, digest_in_place, digest_runs, digest_tensor, digest_tensors
from detctl_probe.digest.sketch import sketch_tensor
from detctl_probe.observe.model.shards import Shard, shard_of
from detctl_probe.recording.coverage import Observer
from detctl_probe.recording.recorder import Recorder

DEPTH_MAX = 16
ALIGNED = 64  # bytes, as torch's allocators do
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


def fingerprint_tensor(tensor: Any, *, sketch: bool = False, wait: bool = False) -> Fingerprint:
    """The fingerprint of a tensor of any layout. Raises NoDigestError (no content, a subclass without storage …).

    Digest and sketch of a tensor on a device are Pending, and a large one has no sketch, unless `wait`.
    """
    torch = sys.modules["torch"]
    with torch._C.DisableTorchFunction(), torch._C._DisableTorchDispatch():
        plain = _plain(torch, tensor)
        floating = plain.is_floating_point() or plain.is_complex()
        digest: Any = digest_tensor(plain) if wait else device_digests.submit_one(plain)
        return Fingerprint(
            digest,
            dtype_name(plain.dtype),
            tuple(int(size) for size in plain.shape),
            sketch=(sketch_tensor if wait else _sketch)(plain.detach()) if sketch and floating else None,
        )


def _sketch(plain: Any) -> Any:
    """The sketch; None if it would have to wait for a device."""
    try:
        return device_digests.submit_copy(plain, sketch_tensor)
    except NoDigestError:
        return None


Entry = Tuple[str, Any, Optional[Dict[str, Any]]]


def record_values(recorder: Recorder, row: Observer, stage: str, entries: Iterable[Entry], phase: str) -> None:
    """Records each (site, value, evidence) in order: tensors (a sparse one by its parts) by their content, the rest by fingerprint_plain.

    The kernel is called once for all. A tensor without a digest is reported as unobserved.
    """
    with recorder.working(stage):
        named: List[Entry] = []
        dense: List[Any] = []
        kind = sys.modules["torch"].Tensor
        for entry in entries:
            site, value, evidence = entry
            if isinstance(value, kind) and not value.is_sparse:
                named.append(entry)
                dense.append(value)
            elif isinstance(value, kind):
                for part, tensor in components(value):
                    named.append((site + part, tensor, evidence))
                    dense.append(tensor)
            else:
                named.append((site, fingerprint_plain(value), evidence))
        fingerprints = iter(fingerprint_tensors(dense))
        keeps = recorder.keeps_evidence
        seen = []
        for site, value, evidence in named:
            if type(value) is not Fingerprint:
                tensor, value = value, next(fingerprints)
                if isinstance(value, NoDigestError):
                    recorder.unobserved(stage, site, str(value))
                    continue
                if keeps and evidence is None:
                    evidence = layout(tensor)
            seen.append((site, value, evidence if keeps else None))
        recorder.record_all(stage, seen, phase)
        row.fired += len(seen)


def record_output(recorder: Recorder, row: Observer, site: str, tensor: Any, phase: str) -> None:
    """record_values of one tensor that a module returned, for a hook that has checked `takes` and is timed as stage forward.

    The hook runs after operators have emptied the caches, so each function and object that it touches costs a memory access: it must touch
    as little as possible. A dense tensor on the CPU takes the short path, which calls nothing of torch that an observer could see.
    """
    torch = sys.modules["torch"]
    if type(tensor) is torch.Tensor and not device_digests.interpreted and not modes_active(torch):
        digest = digest_in_place(tensor)
        if digest is not None:
            evidence = None
            if recorder.keeps_evidence and tensor.data_ptr() % ALIGNED:
                evidence = layout(tensor)
            fingerprint = Fingerprint(
                digest, _dtypes.get(tensor.dtype) or dtype_name(tensor.dtype), tuple(tensor.shape)
            )
            recorder.keep("forward", ((site, None, fingerprint, evidence),), phase)
            row.fired += 1
            return
    record_values(recorder, row, "forward", [(site, tensor, None)], phase)


def modes_active(torch: Any) -> bool:
    """Whether any torch function or dispatch mode is active in this thread."""
    try:
        return bool(torch._C._len_torch_dispatch_stack() or torch._C._len_torch_function_stack())
    except AttributeError:  # this torch cannot report it: assume that one is
        return True


def components(tensor: Any) -> Iterator[Tuple[str, Any]]:
    """The dense parts of a sparse tensor, each with a suffix, or a dense tensor itself."""
    if not tensor.is_sparse:
        yield "", tensor
        return
    yield "[indices]", tensor._indices()
    yield "[values]", tensor._values()


def fingerprint_tensors(values: Sequence[Any], *, wait: bool = False) -> List[Union[Fingerprint, NoDigestError]]:
    """fingerprint_tensor of each, or why it has none."""
    torch = sys.modules["torch"]
    own = (torch.Tensor, torch.nn.Parameter)
    found: List[Any] = []
    plain: List[Any] = []
    with torch._C.DisableTorchFunction(), torch._C._DisableTorchDispatch():
        for tensor in values:
            if type(tensor) in own:
                plain.append(tensor)
                found.append(tensor)
                continue
            try:
                shard = shard_of(tensor)
                if shard is not None:
                    digest: Any = _digest_shard(shard, wait)
                    found.append(Fingerprint(digest, dtype_name(shard.local.dtype), shard.shape))
                    continue
                plain.append(_plain(torch, tensor))
                found.append(plain[-1])
            except NoDigestError as why:
                found.append(why)
        digests: Iterator[Any] = iter(digest_tensors(plain) if wait else device_digests.submit(plain))
        for place, tensor in enumerate(found):
            if type(tensor) not in (NoDigestError, Fingerprint):
                made: Any = next(digests)
                if type(made) is not NoDigestError:
                    made = Fingerprint(made, _dtypes.get(tensor.dtype) or dtype_name(tensor.dtype), tuple(tensor.shape))
                found[place] = made
    return found


def _digest_shard(shard: Shard, wait: bool) -> Any:
    """The digest of a shard: one run like any tensor; several runs wait for their device."""
    if wait or shard.runs != 1:
        return digest_runs(shard.local, shard.first_index, shard.runs, shard.stride)
    return device_digests.submit_one(shard.local, shard.first_index)


def fingerprint_plain(value: Any) -> Fingerprint:
    """The fingerprint of a number, text, flag or None, by its type and repr."""
    text = repr(value).encode("utf-8", "surrogateescape")
    return Fingerprint(blake2b(text, digest_size=16).digest(), "py:%s" % type(value).__name__)


def layout(tensor: Any) -> Optional[Dict[str, Any]]:
    """Evidence: strides and address modulo 64 if they differ from a fresh contiguous tensor's; the shard of a DTensor."""
    try:
        shard = shard_of(tensor)
        if shard is not None:
            return shard.evidence
        align = tensor.data_ptr() % ALIGNED
        if align == 0 and tensor.is_contiguous():
            return None
        return {"layout": {"strides": list(tensor.stride()), "align": align}}
    except (RuntimeError, AttributeError, NotImplementedError, NoDigestError):
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
        raise NoDigestError("it has no content before the first forward of its lazy module")
    # A subclass that dispatches in Python has no storage of its own (FakeTensor), or holds it elsewhere (DTensor).
    if kind.__torch_dispatch__ is not torch._C._disabled_torch_dispatch_impl:
        local = getattr(tensor, "_local_tensor", None)
        if kind.__name__ == "DTensor" and local is not None:
            return local.detach()
        raise NoDigestError("a %s" % kind.__name__)
    return tensor.as_subclass(torch.Tensor).detach()
