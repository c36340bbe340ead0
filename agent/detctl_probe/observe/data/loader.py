"""Numbers loaders and batches, and records the observations of each fetch when the main process takes its batch.

Loaders are numbered by first use, in training (`loader1`) and in evaluation (`eval-loader1`) apart, so that an evaluation before the
training changes no name in it. In each of them the batches of a loader are numbered over its whole life, and that number is the occurrence
of each fingerprint of order, sample and batch. So the numbering does not depend on how far a sampler or a worker runs ahead
(docs/adr/0015). Sites of other loaders than the first end in `@loader2`. Three patches: the iterator's constructor swaps its copy of
collate_fn for a Collator (the loader's own stays as it is), and `_next_data` of torch's two iterators opens the Envelopes.
"""

from __future__ import annotations

import functools
import sys
import weakref
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

from detctl_probe.observe.data import workers
from detctl_probe.observe.data.batches import Collator, Envelope, Seen, inside_fetch
from detctl_probe.observe.data.loader_evidence import describe_dataset, describe_sampler, small
from detctl_probe.observe.data.loader_traces import prune
from detctl_probe.process.signals import from_signal
from detctl_probe.recording.recorder import LAUNCHER, WORKER, Recorder, recorder
from detctl_probe.recording.undecided_batches import UNDECIDED

_STATE = "_detctl_loader"
_OBSERVERS = {"order": "loader", "sample": "samples", "batch": "batches"}


class Use:
    """A loader in one phase."""

    def __init__(self, number: int, phase: str) -> None:
        self.number = number
        self.name = "%s%d" % ("eval-loader" if phase == "eval" else "loader", number)
        self.batches = 0

    def site(self, stage: str, site: str) -> str:
        """The recorded site: with this loader's suffix."""
        if stage == "order":
            return self.name
        return site if self.name == "loader1" else "%s@%s" % (site, self.name)


class Loader:
    """One DataLoader of this process."""

    def __init__(self, number: int, loader: Any, logical: Callable[[str], str]) -> None:
        self.number = number  # by first use of any kind
        self.batches = 0  # of all phases
        self.uses: Dict[str, Use] = {}  # by phase
        self.sampler = describe_sampler(loader)
        self.dataset = describe_dataset(loader.dataset, logical)


class Loaders:
    """Numbers DataLoaders by first use. A loader is known by its identity while it lives; nothing is written on it."""

    def __init__(self) -> None:
        self._known: Dict[int, Tuple[Callable[[], Any], Loader]] = {}
        self._count = 0
        self._used: Dict[str, int] = {}  # loaders by phase

    def use(self, known: Loader, phase: str) -> Use:
        """The use of a loader in a phase, numbered at its first."""
        made = known.uses.get(phase)
        if made is None:
            self._used[phase] = self._used.get(phase, 0) + 1
            made = known.uses[phase] = Use(self._used[phase], phase)
        return made

    def of(self, loader: Any, logical: Callable[[str], str]) -> Loader:
        """The record of this loader, made at its first use."""
        known = self._known.get(id(loader))
        if known is not None and known[0]() is loader:
            return known[1]
        self._count += 1
        made = Loader(self._count, loader, logical)
        self._known[id(loader)] = (weakref.ref(loader), made)
        return made


_loaders = Loaders()
# Called with (loader's number, batch's number, data) of each batch that is taken, after it was recorded: keep.py, transplant.py.
on_batch: List[Callable[[int, int, Any], None]] = []


def install(owner: Recorder) -> None:
    """Patches torch.utils.data; called when torch has been imported."""
    module = sys.modules["torch.utils.data.dataloader"]
    workers.prepare(Collator)
    owner.observer("workers", "rng").installed = True
    base, single, multi = (
        module._BaseDataLoaderIter,
        module._SingleProcessDataLoaderIter,
        module._MultiProcessingDataLoaderIter,
    )
    for iterator in (single, multi):
        iterator._next_data = _next_data(iterator._next_data)
    ours = (single._next_data, multi._next_data)
    base.__init__ = _iterator_init(base.__init__, multi, ours)


def _iterator_init(original: Callable[..., None], multi: type, ours: Tuple[Any, ...]) -> Callable[..., None]:
    @functools.wraps(original)
    def __init__(self: Any, loader: Any, *args: Any, **fields: Any) -> None:
        owner = recorder()
        watched = owner is not None and owner.role not in (WORKER, LAUNCHER) and not inside_fetch()
        if watched and owner is not None:
            owner.begin()  # before the base seed and the sampler's seed are drawn
        original(self, loader, *args, **fields)
        if watched and owner is not None:
            _attach(owner, self, loader, multi, ours)

    return __init__


def _attach(owner: Recorder, iterator: Any, loader: Any, multi: type, ours: Tuple[Any, ...]) -> None:
    try:
        known = _loaders.of(loader, owner.logical)
        if type(iterator)._next_data not in ours:
            name = _loaders.use(known, owner.batch_phase() or "train").name
            kind = "%s.%s" % (type(iterator).__module__, type(iterator).__qualname__)
            for stage in ("order", "sample", "batch"):
                owner.unobserved(
                    stage, name, "its iterator %s takes batches in its own way, which the probe cannot see" % kind
                )
            owner.note(
                "foreign-worker",
                "%s is iterated by %s: its batches are not observed" % (name, kind),
                stage="batch",
            )
            return
        collator = Collator(iterator._collate_fn, bool(iterator._auto_collation), isinstance(iterator, multi))
        setattr(iterator, _STATE, known)
        iterator._collate_fn = collator
    except Exception as error:
        if from_signal(error):
            raise
        _failed(owner, "a loader is not observed", error)


def _next_data(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def next_data(self: Any) -> Any:
        try:
            data = original(self)
        except BaseException as error:
            prune(error)
            raise
        known = self.__dict__.get(_STATE)
        seen: Optional[Seen] = None
        if type(data) is Envelope:
            data, seen = data.data, data.seen
        elif known is not None:
            seen = self._collate_fn.take()
        if known is not None:
            _taken(known, seen, self._num_workers)
            for look in on_batch:
                look(known.number, known.batches - 1, data)
        return data

    return next_data


def _taken(known: Loader, seen: Optional[Seen], worker_count: int) -> None:
    """The main process has the next batch of a loader: records its observations at the current step."""
    known.batches += 1
    owner = recorder()
    if owner is None or not owner.recording:
        return
    try:
        if seen is None:
            owner.unobserved("batch", "loader%d" % known.number, "a worker sent a batch that the probe did not observe")
            return
        owner.batch_taken()
        phase = owner.batch_phase()
        if phase == UNDECIDED:
            owner.when_decided(functools.partial(_guarded_write, owner, known, seen, worker_count))
            return
        if phase is not None:
            owner.set_phase(phase)
        _guarded_write(owner, known, seen, worker_count, owner.phase)
    except Exception as error:
        if from_signal(error):
            raise
        _failed(owner, "a batch of a loader is not recorded", error)


def _guarded_write(owner: Recorder, known: Loader, seen: Seen, worker_count: int, phase: str) -> None:
    """Records a batch in a phase, which stays the recorder's own if the batch is recorded later than it was taken."""
    before = owner.phase
    try:
        owner.set_phase(phase)
        if phase == "train":
            owner.fed = (owner.step, owner.micro)
        with owner.working("order"):
            _write(owner, known, _loaders.use(known, phase), seen, worker_count)
    except Exception as error:
        if from_signal(error):
            raise
        _failed(owner, "a batch of a loader is not recorded", error)
    finally:
        owner.set_phase(before)


def _write(owner: Recorder, known: Loader, use: Use, seen: Seen, worker_count: int) -> None:
    number = use.batches
    use.batches += 1
    owner.replay(seen.carried)
    owner.costs.add_worker(seen.cost)
    _fired(owner, "workers", len(seen.carried))
    stages: List[str] = []
    for stage, site, fingerprint, evidence in seen.records:
        more: Optional[Mapping[str, Any]] = evidence
        if stage not in stages:
            stages.append(stage)
            more = small({**(evidence or {}), **_about(known, use, stage, seen, worker_count)})
        owner.record(stage, use.site(stage, site), fingerprint, occurrence=number, evidence=more)
        _fired(owner, "transforms" if site.startswith("transform/") else _OBSERVERS[stage], 1)
    for kind, text, fields in seen.notes:
        owner.note(kind, text, **fields)
    for stage, what, why in seen.unobserved:
        owner.unobserved(stage, use.site(stage, what), why)


def _about(known: Loader, use: Use, stage: str, seen: Seen, worker_count: int) -> Dict[str, Any]:
    if stage == "order":
        return {**known.sampler, "workers": worker_count}
    about = {"loader": use.number, **known.dataset}
    if stage == "batch":
        about["workers"] = worker_count
        if seen.worker is not None:
            about["worker"] = seen.worker
    return about


def _fired(owner: Recorder, name: str, count: int) -> None:
    row = owner.observers.get(name)
    if row is not None:
        row.fired += count


def _failed(owner: Recorder, what: str, error: Exception) -> None:
    why = "%s: %s" % (type(error).__name__, error)
    owner.note("observer-failed", "%s: %s" % (what, why), stage="batch")
    owner.unobserved("batch", what, why)
