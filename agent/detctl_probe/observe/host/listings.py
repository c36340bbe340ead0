"""Stage listing: every folder that the training lists, in the order in which it got the names.

Site: the folder's logical name. Rows: blake2b-16 of each name. Evidence: the caller, the first names, whether they came sorted.
"""

from __future__ import annotations

import os
import sys
from hashlib import blake2b
from types import FrameType
from typing import Any, Callable, Dict, List, Optional, Tuple

from detctl_probe.digest import n6
from detctl_probe.digest.fingerprint import Fingerprint
from detctl_probe.observe.host.listing_calls import Listings, listings
from detctl_probe.process.imports import when_imported
from detctl_probe.recording.recorder import Recorder

FIRST_NAMES = 20


def install(recorder: Recorder) -> None:
    """Patches the calls and checks them, now and when pathlib or glob are imported. Raises RuntimeError where a check fails."""
    calls = listings(recorder)
    row = recorder.observer("listings", "listing")

    def seen(folder: str, names: List[str], call: str, whole: bool, frame: Optional[FrameType]) -> None:
        row.fired += 1
        evidence: Dict[str, Any] = {
            "call": call,
            "path": folder,
            "count": len(names),
            "first": names[:FIRST_NAMES],
            "sorted": names == sorted(names),
            **recorder.callers.describe(frame),
        }
        if not whole:
            evidence["whole"] = False
        recorder.record("listing", recorder.logical(folder), fingerprint(names), evidence=evidence)

    calls.on_listing(seen)
    for module, check in _CHECKS:
        if module == "os":
            _verify(recorder, calls, module, check)
        else:
            when_imported(module, _later(recorder, calls, module, check))


def _later(recorder: Recorder, calls: Listings, module: str, check: Callable[[str], Any]) -> Callable[[Any], None]:
    return lambda _: _verify(recorder, calls, module, check)


def fingerprint(names: List[str]) -> Fingerprint:
    """The fingerprint of names: rows, ordered and order-blind digest."""
    rows = tuple(blake2b(name.encode("utf-8", "surrogateescape"), digest_size=16).digest() for name in names)
    whole, blind = n6.fold_rows(rows)
    return Fingerprint(whole, "py:names", (len(rows),), blind, rows)


def _verify(recorder: Recorder, calls: Listings, module: str, check: Callable[[str], Any]) -> None:
    folder = os.path.dirname(os.path.abspath(__file__))
    caught = calls.catch(lambda: check(folder))
    names = set(calls._listdir(folder))
    if not any(path == folder and set(found) == names for path, found in caught):
        why = "the self-check of %s saw %d listings, none of them right" % (module, len(caught))
        recorder.observer("listings", "listing").failed = why
        recorder.unobserved("listing", "folders listed by %s" % module, why)
        if module == "os":
            raise RuntimeError(why)


def _os(folder: str) -> None:
    os.listdir(folder)
    with os.scandir(folder) as entries:
        list(entries)


def _pathlib(folder: str) -> None:
    list(sys.modules["pathlib"].Path(folder).iterdir())


def _pathlib_glob(folder: str) -> None:
    list(sys.modules["pathlib"].Path(folder).glob("*"))


def _glob(folder: str) -> None:
    sys.modules["glob"].glob(os.path.join(folder, "*"))


_CHECKS: Tuple[Tuple[str, Callable[[str], Any]], ...] = (
    ("os", _os),
    ("pathlib", _pathlib),
    ("pathlib", _pathlib_glob),
    ("glob", _glob),
)
