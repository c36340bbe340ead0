"""Stage artifact: the logical content of what torch.save (and safetensors) wrote, not the bytes of the file.

Site: the file's name, then the path inside: `model.pt:[model][layer1.weight]`. Folders, and dates, long numbers and uuids in the
name, are left out: a run is saved to `outputs/2026-11-28/14-20-11`, and its place is not content. Tensors and other leaves have separate
records; the dtype of the others begins with `py:`, and only tensors decide the outcome.
"""

from __future__ import annotations

import functools
import os
import re
import sys
from typing import Any, Callable, Iterator, Tuple

from detctl_probe.digest.n6 import NoDigestError
from detctl_probe.digest.values import fingerprint, set_places
from detctl_probe.observe.model import restoring
from detctl_probe.observe.model.steps import Guarded, Model, model_of
from detctl_probe.observe.model.tensors import components, fingerprint_tensor
from detctl_probe.process.imports import when_imported
from detctl_probe.recording.recorder import Recorder

DEPTH_MAX = 32
LEAVES_MAX = 20000
# What changes with each run: a uuid, a date or a time of day, seconds since 1970.
_OF_THE_RUN = re.compile(
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d{4}([-_.])\d\d\1\d\d|(?<!\d)\d\d([-_.:])\d\d\2\d\d(?!\d)|\d{6,}(?:\.\d+)?"
)
_PLAIN = (bool, int, float, complex, str, bytes, type(None))


class Artifacts:
    """Records saved content."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._recorder = model.recorder
        self._row = model.recorder.observer("artifacts", "artifact")

    def saved(self, content: Any, target: Any) -> None:
        """Records `content`, which was written to `target`, a path or a file object."""
        recorder = self._recorder
        if not recorder.recording or self._model.aside() not in (None, "backward"):
            return
        name, path = named(target)
        restoring.saves(self._model, path)
        with recorder.working("artifact"):
            for count, (inner, leaf) in enumerate(leaves(content, self._model.torch)):
                if count >= LEAVES_MAX:
                    recorder.unobserved("artifact", name, "it has more than %d leaves" % LEAVES_MAX)
                    break
                self._leaf("%s:%s" % (name, inner), leaf, path)

    def _leaf(self, site: str, leaf: Any, path: str) -> None:
        evidence = {"file": path} if path else None
        if isinstance(leaf, self._model.torch.Tensor):
            for part, dense in components(leaf):
                try:
                    value = fingerprint_tensor(dense)
                except NoDigestError as why:
                    self._recorder.unobserved("artifact", site + part, str(why))
                    continue
                self._recorder.record("artifact", site + part, value, phase="train", evidence=evidence)
        else:
            try:
                value = fingerprint(leaf)
            except NoDigestError as why:
                self._recorder.unobserved("artifact", site, str(why))
                return
            if not value.dtype.startswith("py:"):
                value = value._replace(dtype="py:%s" % value.dtype)  # only tensors decide the outcome
            self._recorder.record("artifact", site, value, phase="train", evidence=evidence)
        self._row.fired += 1


def named(target: Any) -> Tuple[str, str]:
    """(name for the site, path as evidence) of a path or a file object."""
    if not isinstance(target, (str, bytes, os.PathLike)):
        target = getattr(target, "name", None)
    if not isinstance(target, (str, bytes, os.PathLike)):
        return "<buffer>", ""
    path = os.path.abspath(os.fsdecode(target))
    return _OF_THE_RUN.sub("#", os.path.basename(path)), path


def leaves(value: Any, torch: Any, path: str = "", depth: int = 0) -> Iterator[Tuple[str, Any]]:
    """Yields (path, tensor or plain value); another object is the name of its class. A module is its parameters and buffers."""
    if isinstance(value, torch.Tensor) or isinstance(value, _PLAIN):
        yield path, value
    elif depth >= DEPTH_MAX:
        yield path, "..."
    elif isinstance(value, torch.nn.Module):
        for tables in (value.named_parameters(), value.named_buffers()):
            for name, tensor in tables:
                yield "%s[%s]" % (path, name), tensor
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, torch, "%s[%s]" % (path, _key(key)), depth + 1)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from leaves(item, torch, "%s[%d]" % (path, index), depth + 1)
    elif isinstance(value, (set, frozenset)):
        yield path, sorted((item for item in value if isinstance(item, _PLAIN)), key=repr)
    else:
        numpy = sys.modules.get("numpy")
        if numpy is not None and isinstance(value, (numpy.ndarray, numpy.generic)):
            yield path, value
        else:
            yield path, "%s.%s" % (type(value).__module__, type(value).__qualname__)


def _key(key: Any) -> str:
    """A key as text that does not hold an address."""
    return str(key) if isinstance(key, _PLAIN) else type(key).__qualname__


def install(recorder: Recorder) -> None:
    """Wraps torch.save now, and safetensors as soon as the training has imported it."""
    torch: Any = sys.modules["torch"]
    model = model_of(recorder)
    row = recorder.observer("artifacts", "artifact")
    set_places(recorder.logical)  # the place of a checkpoint is not content
    watch = Artifacts(model)
    guarded = Guarded(model, row)
    torch.save = _saving(torch.save, ("obj", "f"), watch, guarded)
    row.installed = True
    when_imported("safetensors.torch", lambda _: install_safetensors(recorder))


def install_safetensors(recorder: Recorder) -> None:
    """Wraps safetensors.torch.save_file, once."""
    holder: Any = sys.modules["safetensors.torch"]
    if not hasattr(holder.save_file, "_detctl"):
        model = model_of(recorder)
        guarded = Guarded(model, recorder.observer("artifacts", "artifact"))
        holder.save_file = _saving(holder.save_file, ("tensors", "filename"), Artifacts(model), guarded)


def _saving(
    original: Callable[..., Any], names: Tuple[str, str], watch: Artifacts, guarded: Guarded
) -> Callable[..., Any]:
    """Wraps save(content, target, ...); `names` are those two parameters' names."""

    @functools.wraps(original)
    def save(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        content, target = (args[i] if len(args) > i else kwargs.get(name) for i, name in enumerate(names))
        guarded(watch.saved, content, target)
        return result

    save._detctl = True  # type: ignore[attr-defined]
    return save
