"""The evidence of a batch's records: dataset and its source line, sampler, names of files. Evidence is never compared.

Reads attributes only from instance dictionaries: a property of a dataset is the user's code, which is not run.
"""

from __future__ import annotations

import bisect
import json
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

EVIDENCE_BYTES_MAX = 500
FILES_MAX = 8
WRAPPERS_MAX = 5
# Where datasets keep the paths of their samples, as `path` or `(path, target, ...)` items.
PATH_ATTRIBUTES = (
    "samples",
    "imgs",
    "files",
    "paths",
    "filenames",
    "file_names",
    "image_paths",
    "image_files",
    "images",
)


def describe_dataset(dataset: Any, logical: Callable[[str], str]) -> Dict[str, Any]:
    """{"dataset": "Subset(ImageFolder)", "at": "{cwd}/data.py:31"}; `at` is the line of its __getitem__ or __iter__."""
    names: List[str] = []
    inner = dataset
    for _ in range(WRAPPERS_MAX):
        names.append(type(inner).__name__)
        below = _attributes(inner).get("dataset")
        if below is None or isinstance(below, (str, int)):
            break
        inner = below
    described: Dict[str, Any] = {"dataset": "(".join(names) + ")" * (len(names) - 1)}
    for name in ("__getitem__", "__getitems__", "__iter__"):
        code = getattr(getattr(type(inner), name, None), "__code__", None)
        if code is not None:
            described["at"] = "%s:%d" % (logical(code.co_filename), code.co_firstlineno)
            break
    return described


def describe_sampler(loader: Any) -> Dict[str, Any]:
    """{"sampler": "RandomSampler"}, the batch sampler if it is not torch's own, and what decides its order: `draws` is `own` if it has
    a generator of its own, and `epoch` if it counts epochs."""
    sampler = getattr(loader, "sampler", None)
    described: Dict[str, Any] = {"sampler": type(sampler).__name__}
    if isinstance(_attributes(sampler).get("epoch"), int):
        described["draws"] = "epoch"
    elif _attributes(sampler).get("generator") is not None:
        described["draws"] = "own"
    batch_sampler = getattr(loader, "batch_sampler", None)
    if batch_sampler is not None and type(batch_sampler).__name__ != "BatchSampler":
        described["batch_sampler"] = type(batch_sampler).__name__
    return described


def file_names(dataset: Any, indices: List[Any], logical: Callable[[str], str]) -> List[str]:
    """Logical names of the files of the first indices, if the dataset lists them by index; else nothing."""
    names: List[str] = []
    for index in indices[:FILES_MAX]:
        path = _path_of(dataset, index)
        if path is None:
            return names
        names.append(logical(path))
    return names


def small(evidence: Mapping[str, Any]) -> Dict[str, Any]:
    """The evidence, cut to EVIDENCE_BYTES_MAX bytes of JSON: lists lose their ends, then the last keys are dropped."""
    kept = dict(evidence)
    while len(json.dumps(kept, default=str)) > EVIDENCE_BYTES_MAX:
        lists = [key for key, value in kept.items() if isinstance(value, list) and value]
        if lists:
            longest = max(lists, key=lambda key: len(json.dumps(kept[key], default=str)))
            kept[longest] = kept[longest][:-1]
        else:
            kept.popitem()
    return kept


def _path_of(dataset: Any, index: Any) -> Optional[str]:
    for _ in range(WRAPPERS_MAX):
        if not isinstance(index, int):
            return None
        step = _below(dataset, index)
        if step is None:
            break
        dataset, index = step
    attributes = _attributes(dataset)
    for name in PATH_ATTRIBUTES:
        items = attributes.get(name)
        if not isinstance(items, (list, tuple)) or not -len(items) <= index < len(items):
            continue
        item = items[index]
        if isinstance(item, (list, tuple)) and item:
            item = item[0]
        if isinstance(item, str) or hasattr(item, "__fspath__"):
            return str(item)
    return None


def _below(dataset: Any, index: int) -> Optional[Tuple[Any, Any]]:
    """(inner dataset, inner index) of a Subset or ConcatDataset."""
    attributes = _attributes(dataset)
    inner, indices = attributes.get("dataset"), attributes.get("indices")
    if inner is not None and isinstance(indices, (list, tuple, range)) and index < len(indices):
        return inner, int(indices[index])
    datasets, ends = attributes.get("datasets"), attributes.get("cumulative_sizes")
    if isinstance(datasets, list) and isinstance(ends, list) and 0 <= index < (ends[-1] if ends else 0):
        at = bisect.bisect_right(ends, index)
        return datasets[at], index - (ends[at - 1] if at else 0)
    return None


def _attributes(dataset: Any) -> Dict[str, Any]:
    attributes = getattr(dataset, "__dict__", None)
    return attributes if isinstance(attributes, dict) else {}
