"""Stages sample and batch: what one fetch of a DataLoader read, transformed and collated, observed where it happens.

A `Collator` takes the place of the user's collate_fn inside the iterator (never on the loader): it is called with the samples and
makes the batch, in a worker as in the main process, so both observe the same. From a worker it returns an `Envelope` that holds the
batch and the observations. `loader.py` opens it when the main process takes the batch, so no order depends on timing. A worker
wraps only if its main process handed it a Collator: a library with its own loops (torchdata) never sees an Envelope.
"""

from __future__ import annotations

import sys
import threading
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Tuple

from detctl_probe.digest.fingerprint import Fingerprint
from detctl_probe.digest.values import NoDigestError, by_path, fingerprint, gather, is_opaque, leaves, set_places
from detctl_probe.observe.data import order, workers
from detctl_probe.observe.data.loader_evidence import file_names, small
from detctl_probe.observe.data.loader_generators import drawn, snapshot
from detctl_probe.process.signals import from_signal
from detctl_probe.recording.recorder import Recorder, recorder

# Transform sites of one batch: a transform that is new for each call must not fill memory.
SITES_MAX = 64

Record = Tuple[str, str, Fingerprint, Optional[Mapping[str, Any]]]

_local = threading.local()


class Seen(NamedTuple):
    """What one fetch saw; picklable. `carried`: what else the worker's recorder kept (files, listings, generators)."""

    records: List[Record]
    notes: List[Tuple[str, str, Dict[str, Any]]]
    unobserved: List[Tuple[str, str, str]]
    worker: Optional[int]
    carried: List[Any]
    cost: Mapping[str, float] = {}  # seconds by stage that a worker spent in the probe


class Envelope:
    """A batch on its way from a worker, with its observations."""

    def __init__(self, data: Any, seen: Seen) -> None:
        self.data = data
        self.seen = seen

    def __reduce__(self) -> Tuple[Any, ...]:
        return Envelope, (self.data, self.seen)

    def pin_memory(self, *device: Any) -> "Envelope":
        """torch's pin thread asks for this; it pins what is inside, for the thread's device."""
        pin = sys.modules["torch.utils.data._utils.pin_memory"].pin_memory
        arguments = device or (sys._getframe(1).f_locals.get("device"),)
        self.data = pin(self.data, *arguments)
        return self


class Fetch:
    """The observations of a fetch that has not ended."""

    def __init__(self, dataset: Any, index: Any, samples: bool = True) -> None:
        self.dataset = dataset
        self.indices: List[Any] = []
        self.order: Optional[Fingerprint] = None
        self.columns: Dict[str, List[Fingerprint]] = {}  # transform site -> one fingerprint for each call
        self.notes: List[Tuple[str, str, Dict[str, Any]]] = []
        self.unobserved: Dict[Tuple[str, str], str] = {}
        self.samples = samples  # whether samples, and what transforms make of them, are recorded
        self.generators = snapshot() if samples else {}
        try:
            self.indices = order.as_list(index)  # a copy: __getitems__ may change its list
            self.order = order.order_fingerprint(self.indices)
        except NoDigestError as error:
            self.miss("order", "indices of a batch", str(error))

    def miss(self, stage: str, what: str, why: str) -> None:
        """Notes that a part of the fetch has no digest."""
        self.unobserved.setdefault((stage, what), why)

    def transformed(self, site: str, value: Any) -> None:
        """A call of a transform returned `value`: adds a row for its site."""
        if not self.samples:
            return
        for path, leaf in leaves(value):
            name = "%s/%s" % (site, path) if path else site
            column = self.columns.get(name)
            if column is None:
                if len(self.columns) >= SITES_MAX:
                    self.miss("sample", "transforms", "the batch has more than %d sites" % SITES_MAX)
                    return
                column = self.columns[name] = []
            leaf_fingerprint = self.fingerprint_of("sample", name, leaf)
            if leaf_fingerprint is not None:
                column.append(leaf_fingerprint)

    def fingerprint_of(self, stage: str, what: str, leaf: Any, rows: bool = False) -> Optional[Fingerprint]:
        """The fingerprint of a leaf, or None if it has none; it is then reported as unobserved."""
        try:
            leaf_fingerprint = fingerprint(leaf, rows)
        except NoDigestError as error:
            self.miss(stage, what, str(error))
            return None
        if is_opaque(leaf_fingerprint):
            self.miss(stage, what, "only its type is known: %s" % leaf_fingerprint.dtype.rpartition(":")[2])
        return leaf_fingerprint


class Collator:
    """Stands for the user's collate_fn inside one iterator and its workers. auto: samples come as a list (batch_size set)."""

    def __init__(self, collate: Callable[[Any], Any], auto: bool, travels: bool) -> None:
        self._collate = collate
        self._auto = auto
        self._travels = travels
        self._seen: Optional[Seen] = None
        self._started = False

    def __getstate__(self) -> Tuple[Any, ...]:
        return self._collate, self._auto, self._travels

    def __setstate__(self, state: Tuple[Any, ...]) -> None:
        """Unpickles in a spawned worker: first installs what a forked worker inherits."""
        self._collate, self._auto, self._travels = state
        self._seen, self._started = None, False
        if self._travels:
            workers.prepare(Collator)

    def begin(self, dataset: Any, index: Any) -> None:
        """A fetch starts on this thread."""
        fetch: Optional[Fetch] = None
        owner = recorder()
        try:
            if owner is None or owner.recording:
                with _working(owner, "order"):
                    if self._travels and not self._started:
                        workers.started(owner)
                    self._started = True
                    fetch = Fetch(dataset, index, owner is None or _takes_samples(owner))
        except Exception as error:
            if from_signal(error):
                raise
        _stack().append(fetch)

    def end(self) -> None:
        """The fetch that began last on this thread has ended, with or without an exception."""
        _stack().pop()

    def __call__(self, samples: Any) -> Any:
        fetch = current_fetch()
        owner = recorder()
        if fetch is None:
            return self._collate(samples)
        records: List[Record] = []
        _guarded(owner, fetch, "sample", lambda: records.extend(self._of_samples(fetch, samples, owner)))
        # Transforms in the user's own collate_fn come after the samples.
        before, fetch.columns = fetch.columns, {}
        batch = self._collate(samples)
        later, fetch.columns = fetch.columns, before
        _guarded(owner, fetch, "sample", lambda: records.extend(_of_columns(later, "collate")))
        rows = owner is None or owner.keeps_evidence
        count = len(samples) if self._auto and isinstance(samples, (list, tuple)) else None
        _guarded(owner, fetch, "batch", lambda: records.extend(_of_batch(fetch, batch, count, rows)))
        unobserved = [(stage, what, why) for (stage, what), why in fetch.unobserved.items()]
        carried = owner.drain() if owner is not None and self._travels else []
        cost = owner.costs.take_all() if owner is not None and self._travels else {}
        seen = Seen(records, fetch.notes, unobserved, _worker_id(), carried, cost)
        if self._travels:
            return Envelope(batch, seen)
        self._seen = seen
        return batch

    def take(self) -> Optional[Seen]:
        """Returns what the last fetch in this process saw, and forgets it."""
        seen, self._seen = self._seen, None
        return seen

    def _of_samples(self, fetch: Fetch, samples: Any, owner: Optional[Recorder]) -> List[Record]:
        logical = owner.logical if owner is not None else str
        records: List[Record] = []
        if fetch.order is not None:
            records.append(("order", "", fetch.order, order.order_evidence(fetch.indices)))
        if not fetch.samples:
            return records
        draws = drawn(fetch.generators, snapshot())
        listed = samples if self._auto and isinstance(samples, (list, tuple)) else [samples]
        read: List[Dict[str, Fingerprint]] = []
        for sample in listed:
            fingerprints: Dict[str, Fingerprint] = {}
            for path, leaf in leaves(sample):
                site = "__getitem__/%s" % path if path else "__getitem__"
                leaf_fingerprint = fetch.fingerprint_of("sample", site, leaf)
                if leaf_fingerprint is not None:
                    fingerprints[site] = leaf_fingerprint
            read.append(fingerprints)
        records.extend(_of_columns(fetch.columns, "transform"))
        evidence: Dict[str, Any] = {}
        if draws:
            evidence["draws"] = draws
        files = file_names(fetch.dataset, fetch.indices, logical)
        if files:
            evidence["files"] = files
        for site, leaf_fingerprint in by_path(read).items():
            records.append(("sample", site, leaf_fingerprint, small(evidence) if evidence else None))
            evidence = {}  # once a batch
        return records


def current_fetch() -> Optional[Fetch]:
    """The current fetch of this thread, or None."""
    stack = _stack()
    return stack[-1] if stack else None


def inside_fetch() -> bool:
    """Whether this thread is inside a DataLoader's fetch: what happens there belongs to the data and not to the model."""
    return bool(_stack())


def install(owner: Recorder) -> None:
    """Names the stages for the seal; observe/loader.py and observe/workers.py do the patching."""
    owner.observer("samples", "sample").installed = True
    set_places(owner.logical)


def _of_columns(columns: Mapping[str, List[Fingerprint]], what: str) -> List[Record]:
    evidence = {"in": what} if what == "collate" else None
    return [("sample", site, gather(column), evidence) for site, column in columns.items() if column]


def _takes_samples(owner: Recorder) -> bool:
    """Whether samples are recorded: not at level step. A worker does not know the step; the main process drops what it took in vain."""
    return owner.keeps_evidence and owner.takes("sample")


def _of_batch(fetch: Fetch, batch: Any, count: Optional[int], rows: bool) -> List[Record]:
    records: List[Record] = []
    for path, leaf in leaves(batch, count):
        leaf_fingerprint = fetch.fingerprint_of("batch", path or "batch", leaf, rows=rows)
        if leaf_fingerprint is not None:
            records.append(("batch", path or "batch", leaf_fingerprint, None))
    return records


def _guarded(owner: Optional[Recorder], fetch: Fetch, stage: str, work: Callable[[], None]) -> None:
    """Runs the probe's own work: an exception is reported as unobserved, except that of a signal handler, which passes."""
    try:
        with _working(owner, stage):
            work()
    except Exception as error:
        if from_signal(error):
            raise
        fetch.miss(stage, "a batch", "the probe failed: %s: %s" % (type(error).__name__, error))


class _Idle:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def _working(owner: Optional[Recorder], stage: str) -> Any:
    return owner.working(stage) if owner is not None else _Idle()


def _stack() -> List[Optional[Fetch]]:
    stack: Optional[List[Optional[Fetch]]] = getattr(_local, "stack", None)
    if stack is None:
        stack = _local.stack = []
    return stack


def _worker_id() -> Optional[int]:
    module = sys.modules.get("torch.utils.data._utils.worker")
    info = getattr(module, "_worker_info", None)
    return getattr(info, "id", None)
