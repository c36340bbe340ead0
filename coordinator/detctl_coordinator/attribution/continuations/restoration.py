"""Finds out what a run that continues another has restored, and what it has not. Pure.

Each answer rests on fingerprints: a state is restored if it is, in the first continued step, that of the run that was not interrupted.
A state that never changes needs no restoring, and one that cannot be seen is in neither list.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from detctl_coordinator.attribution.continuations.kept_state import KeptCompared, LostValue, compare_kept
from detctl_coordinator.attribution.evidence.facts import place
from detctl_coordinator.attribution.evidence.pair_evidence import RunFacts
from detctl_coordinator.comparison.continued import FIRST_STEPS
from detctl_coordinator.comparison.pair import PairComparison
from detctl_coordinator.comparison.reader import RunReader
from detctl_coordinator.comparison.roots import Node
from detctl_coordinator.comparison.steps.shifted import SEED, ShiftedRun, starts_again
from detctl_coordinator.comparison.steps.window import entries_below
from detctl_coordinator.comparison.updates.before_step import optimizer_of, state_of
from detctl_coordinator.domain.fingerprint import Fingerprint, Stage, StreamKey

State = Literal[
    "weights", "buffers", "optimizer", "schedule", "scaler", "ema", "epoch", "order", "position",
    "python", "numpy", "torch", "cuda", "loader", "private", "script",
]  # fmt: skip
GENERATORS: tuple[State, ...] = ("python", "numpy", "torch", "cuda", "loader", "private")
SITES: Mapping[str, State] = {"random": "python", "numpy": "numpy", "torch": "torch", "cuda": "cuda"}
EMA = re.compile(r"(^|[^a-z])ema([^a-z]|$)|shadow|averaged", re.IGNORECASE)
LR = re.compile(r"^group\d+\.lr$")
# What the names of saved values look like, if their content does not identify them.
SAVED: Mapping[State, re.Pattern[str]] = {
    "python": re.compile(r"(rng|random)[^:]*python|python[^:]*(rng|random)|py_?rng|\[rng\w*\]\[0\]", re.IGNORECASE),
    "numpy": re.compile(
        r"(rng|random)[^:]*(numpy|np)|(numpy|np)[^:]*(rng|random|state)|\[rng\w*\]\[1\]", re.IGNORECASE
    ),
    "cuda": re.compile(r"(rng|random)[^:]*cuda|cuda[^:]*(rng|random)", re.IGNORECASE),
    "private": re.compile(r"bit_generator"),
    "schedule": re.compile(r"sched", re.IGNORECASE),
    "scaler": re.compile(r"scaler", re.IGNORECASE),
    "ema": EMA,
}
COUNTER = ".step"
# Kind of a value that objects of the script keep -> what it is called if it is lost.
KEPT_AS: Mapping[str, State] = {
    "generator": "private", "loader": "loader", "model": "ema", "schedule": "schedule", "scaler": "scaler",
}  # fmt: skip
OF_SCRIPT = ("number", "list", "tensor")
DESCRIBED_MAX = 4
BUILT_IN = {"RandomSampler", "SequentialSampler", "DistributedSampler"}
MADE = ("numpy.random.default_rng", "random.Random")
REPLAY_STEPS_MAX = 4096
SCHEDULE_STEPS_MAX = 256

Values = dict[tuple[str, int], tuple[str, tuple[int, ...], bytes]]


@dataclass(frozen=True)
class Restoration:
    """`lost`: state -> what shows that it was not restored, as a sentence. `restored`: in the order of State. `private`: lines that make
    a generator of their own. `replayed`: the step of the whole run whose data the continuation begins with again. `saved`: states that
    are lost although the checkpoint has them -> their place in it, as `["rng"][2]`, or the name of their file. `values`: of lost states,
    what the probe saw in objects of the script. `step`: the first continued one. `accumulated`: batches of
    that step whose gradients are lost."""

    restored: tuple[State, ...] = ()
    lost: Mapping[State, str] = field(default_factory=dict)
    private: tuple[str, ...] = ()
    replayed: int | None = None
    saved: Mapping[State, str] = field(default_factory=dict)
    values: Mapping[State, tuple[LostValue, ...]] = field(default_factory=dict)
    step: int = 0
    accumulated: int = 0


def restoration_of(pair: PairComparison, left: RunFacts, right: RunFacts) -> Restoration:
    """Returns what the continuing run of a pair restored. `pair.continuation` must be set."""
    found = pair.continuation
    assert found is not None
    if not pair.observed:
        return Restoration(restored=("weights",))  # they have no step in common
    runs = (pair.left, pair.right) if found.continuing == "right" else (pair.right, pair.left)
    assert isinstance(runs[0], ShiftedRun) and isinstance(runs[1], ShiftedRun)
    facts = right if found.continuing == "right" else left
    return _Look(pair, runs[0], runs[1], facts).result()


class _Look:
    """`whole`, `resumed`: both runs from the continued step on. Every method adds what it sees to `restored` and `lost`."""

    def __init__(self, pair: PairComparison, whole: ShiftedRun, resumed: ShiftedRun, facts: RunFacts) -> None:
        self.pair = pair
        self.whole = whole
        self.resumed = resumed
        self.facts = facts
        self.step = whole.start
        self.rank = min(key.rank for key in whole.streams())
        self.restored: set[State] = set()
        self.lost: dict[State, str] = {}
        self.replayed: int | None = None
        self.accumulated = 0
        self.drawn_apart: dict[State, str] = {}
        self.values: dict[State, tuple[LostValue, ...]] = {}

    def result(self) -> Restoration:
        self.weights()
        self.generators()
        self.optimizer()
        self.schedule()
        self.scaler()
        self.kept()
        self.data()
        if not self.pair.different:
            self.restored |= self.drawn_apart.keys()  # batches that are skipped may draw, too
        elif not {"order", "position", "epoch", "loader"} & set(self.lost):
            self.lost |= self.drawn_apart
        self.ema()
        if starts_again(self.whole, self.resumed):
            self.lost["epoch"] = "It makes as many steps as the whole run, so it counts its epochs from 0 again."
        if not self.lost and self.pair.different:
            self.script()
        order = list(State.__args__)  # type: ignore[attr-defined]
        restored = tuple(sorted(self.restored - set(self.lost), key=order.index))
        lost = {state: self.lost[state] for state in sorted(self.lost, key=order.index)}
        values = {state: rows for state, rows in self.values.items() if state in lost}
        return Restoration(
            restored, lost, self.private, self.replayed, self.saved(lost), values, self.step, self.accumulated
        )

    def weights(self) -> None:
        found = self.pair.continuation
        assert found is not None
        if found.restored:
            self.restored.add("weights")
        trained = {site for site, _ in self._both(Stage.BACKWARD)[1]}
        roots = {site.partition("/")[0] for site in trained}
        others = [site for site in found.lost if site not in trained]
        for state, sites in (
            ("weights", [site for site in found.lost if site in trained]),
            ("buffers", [site for site in others if site.partition("/")[0] in roots]),
            (
                "ema",
                [site for site in others if site.partition("/")[0] not in roots],
            ),  # a model that no optimizer trains
        ):
            if sites:
                more = f" and {len(sites) - 1} more" if len(sites) > 1 else ""
                self.lost[state] = f"{sites[0]}{more} start with other values."  # type: ignore[index]

    def generators(self) -> None:
        key = StreamKey(self.rank, Stage.RNG)
        before = _values(self.whole.reader.records(key, 0))
        ours, theirs = self._both(Stage.RNG)
        next_ours, next_theirs = self._both(Stage.RNG, self.step + 1)
        last = self._last_shared(key)
        end_ours, end_theirs = self._both(Stage.RNG, last)
        for at in ours.keys() & theirs.keys():
            state = SITES.get(at[0].partition(":")[0])
            if state is None:
                continue
            moved = ours[at] != before.get(at)
            if at[0] in self._kept.equal:  # what is drawn after that may still depend on something that was lost
                self.restored.add(state)
                continue
            used = moved or ours[at] != end_ours.get(at, ours[at]) or theirs[at] != end_theirs.get(at, theirs[at])
            later = (next_ours.get(at), next_theirs.get(at))
            same = later[0] == later[1] if None not in later else ours[at] == theirs[at]
            if same:
                self.restored |= {state} if moved else set()
            elif used and ours[at] == theirs[at]:
                self.drawn_apart[state] = (
                    f"The state of {at[0]} is restored, but it is drawn from otherwise within step {self.step}."
                )
            elif used:
                text = f"The state of {at[0]} differs from step {self.step} on."
                if theirs[at] == before.get(at):
                    text = f"The state of {at[0]} at step {self.step} is that of step 0."
                self.lost[state] = text

    def optimizer(self) -> None:
        (ours, theirs), (gradients, their_gradients) = self._both(Stage.UPDATE), self._both(Stage.BACKWARD)
        shown = self.whole.replaced.get(StreamKey(self.rank, Stage.UPDATE), ())
        states = [(step, self._both(Stage.UPDATE, step)) for step in sorted(shown)]
        pairs = [(step, _states(a), _states(b)) for step, (a, b) in states if _states(a) or _states(b)]
        for step, before, their_before in pairs:
            apart = sorted(at for at in before.keys() | their_before.keys() if before.get(at) != their_before.get(at))
            if apart and not their_before:
                self.lost["optimizer"] = f"Its state is empty before step {step}, as that of a new optimizer."
            elif apart:
                self.lost["optimizer"] = f"Its state differs before step {step}: {apart[0][0]}."
            if apart:
                return
        if pairs:
            self.restored.add("optimizer")
            return
        parameters = self._initial_sites
        kept = {at for at in ours.keys() | theirs.keys() if _owner(at[0], parameters) is not None}
        if not kept:
            return
        counters = [at for at in kept if at[0].endswith(COUNTER)]
        if gradients and gradients == their_gradients:
            apart = sorted(at for at in kept if ours.get(at) != theirs.get(at))
            if not apart:
                self.restored.add("optimizer")
            else:
                self.lost["optimizer"] = (
                    f"{apart[0][0]} differs after step {self.step}, although the gradients are equal."
                )
        elif counters:
            apart = sorted(at for at in counters if ours.get(at) != theirs.get(at))
            if not apart:
                self.restored.add("optimizer")
            else:
                self.lost["optimizer"] = f"{apart[0][0]} counts the steps, and differs at step {self.step}."
        elif any(
            theirs.get(at) == their_gradients.get((_owner(at[0], parameters) or "", at[1]))
            for at in kept
            if at[0].endswith("momentum_buffer")
        ):
            self.lost["optimizer"] = "Its momentum is the gradient of the first step alone."
        elif self._noted("optimizer"):
            self.restored.add("optimizer")

    def schedule(self) -> None:
        """A schedule that counts from 0 again shows where it changes the learning rate next, if the optimizer restored the rate itself."""
        key = StreamKey(self.rank, Stage.UPDATE)
        begin = self._first_rates(key)
        moved = False
        for step in range(self.step, min(self._last_shared(key), self.step + SCHEDULE_STEPS_MAX) + 1):
            ours, theirs = (_only(LR, values) for values in self._both(Stage.UPDATE, step))
            before = begin.get(self._stepped(self.whole, key, step))
            moved = moved or bool(ours and before and ours != before)  # a skipped step has no rate
            if ours == theirs or not ours or not theirs:
                continue  # a scaler may have skipped the step of one
            again = step - self.step
            if theirs == _only(LR, _values(self.whole.reader.records(key, again))):
                self.lost["schedule"] = f"The learning rate of step {step} is that of step {again}{self._rates(step)}."
            elif not self._noted("schedule"):
                self.lost["schedule"] = f"The learning rate differs from step {step} on{self._rates(step)}."
            if "schedule" in self.lost and not self.facts.note("scheduler"):  # the script sets the rate itself
                counters = self._kept.of("number")
                self.values["schedule"] = counters
                self.lost["schedule"] = " ".join((self.lost["schedule"], _described(counters))).strip()
            return
        if moved:
            self.restored.add("schedule")

    def _first_rates(self, key: StreamKey) -> dict[frozenset[str], Values]:
        """Returns the optimizers of a step -> their learning rates in the first such step: several may step in turn."""
        found: dict[frozenset[str], Values] = {}
        for step in range(min(FIRST_STEPS, self.step)):
            records = self.whole.reader.records(key, step)
            names = frozenset(optimizer_of(record.site) for record in records) - {""}
            found.setdefault(names, _only(LR, _values(records)))
        return found

    @staticmethod
    def _stepped(run: ShiftedRun, key: StreamKey, step: int) -> frozenset[str]:
        return frozenset(optimizer_of(record.site) for record in run.records(key, step)) - {""}

    def _rates(self, step: int) -> str:
        key = StreamKey(self.rank, Stage.UPDATE)
        rates = [
            option
            for run in (self.resumed, self.whole)
            for record in run.records(key, step)
            if record.site in ("group0.lr", "optimizer1/settings") and (option := _rate(record)) is not None
        ]
        return f": {rates[0]} instead of {rates[1]}" if len(rates) == 2 else ""

    def scaler(self) -> None:
        key = StreamKey(self.rank, Stage.LOSS)
        first = _scale(self.whole.reader.records(key, 0))
        ours, theirs = (_scale(run.records(key, self.step)) for run in (self.whole, self.resumed))
        if ours is None or theirs is None:
            return
        if ours != theirs:
            self.lost["scaler"] = f"The scale of the loss is {theirs:g} instead of {ours:g}."
        elif ours != first:
            self.restored.add("scaler")

    def kept(self) -> None:
        """What objects of the script keep: generators of their own, schedules, averages of the weights."""
        unseeded = {note.where for note in self.facts.note("unseeded-rng", "self-seeded")}
        for kind, state in KEPT_AS.items():
            # A generator without a seed differs in each run, restarted or not.
            rows = tuple(
                one
                for one in self._kept.of(kind)
                if one.again or not one.found.where or one.found.where not in unseeded
            )
            if rows:
                self.values[state] = (*self.values.get(state, ()), *rows)
                texts = [self.lost.get(state, ""), _described(rows)]
                self.lost[state] = " ".join(text for text in texts if text)
            elif kind in self._kept.restored:
                self.restored.add(state)

    def script(self) -> None:
        """Variables and attributes that begin again, if nothing else explains why the runs diverge."""
        rows = tuple(one for kind in OF_SCRIPT for one in self._kept.of(kind) if one.again)
        if rows:
            self.values["script"] = rows
            self.lost["script"] = _described(rows)

    @cached_property
    def _kept(self) -> KeptCompared:
        return compare_kept(self.whole.reader, self.resumed.reader, self.rank, self.step)

    def data(self) -> None:
        """The order of samples, and the place in it."""
        stage = next((one for one in (Stage.ORDER, Stage.BATCH) if Node(one) in self.pair.observed), None)
        if stage is None:
            return
        steps = (self._both(stage, step) for step in (self.step, self.step + 1))
        ours, theirs = next(((a, b) for a, b in steps if a and b), ({}, {}))
        if not ours:
            return
        if ours == theirs:
            self.restored.add("order")
            return
        done = _ahead(ours, theirs)
        if done:
            self.accumulated = done
            self.lost["position"] = (
                f"The checkpoint was saved after {done} of the {len(ours)} batches of step {self.step}, and their gradients are lost."
            )
            return
        self.replayed = self._replayed(stage, theirs)
        again = f" Its first data is that of step {self.replayed}." if self.replayed is not None else ""
        taken = self.resumed.records(StreamKey(self.rank, Stage.ORDER), self.step)
        draws, samplers = ({record.evidence.get(name) for record in taken} for name in ("draws", "sampler"))
        text = f"The order of samples differs from step {self.step} on.{again}"
        if samplers == {"SequentialSampler"}:  # nothing orders the samples
            self.lost["position"] = text
        elif counters := self._kept.of("sampler"):
            self.values["epoch"] = counters
            self.lost["epoch"] = f"{text} {_described(counters)}"
        elif "loader" in self.lost:
            return  # its generator decides the order
        elif "epoch" in draws and not self.replayed:
            self.lost["epoch"] = f"{text} Its sampler counts epochs."
        elif "own" in draws and not self.replayed:
            self.lost["loader"] = f"{text} Its sampler has a generator of its own."
        elif self.replayed:
            self.lost["position"] = text
        elif any(state in self.lost for state in GENERATORS):
            return  # the generator decides the order
        elif self.drawn_apart:
            self.lost["order"] = (
                f"{text} Random states are restored, but the order of the interrupted epoch was drawn when it began."
            )
        elif self.private and not samplers & BUILT_IN:
            self.lost["private"] = f"{text} {self.private[0]} makes a generator of its own."
        elif self.replayed == 0:
            self.lost["position"] = text
        elif stage is Stage.ORDER:
            self.lost["order"] = text

    def _replayed(self, stage: Stage, theirs: Values) -> int | None:
        key = StreamKey(self.rank, stage)
        repeated = sorted(value for value in theirs.values())
        for step in range(min(self.step, REPLAY_STEPS_MAX)):
            values = [(r.dtype, r.shape, r.digest) for r in self.whole.reader.records(key, step)]
            if values and sorted(values)[: len(repeated)] == repeated:
                return step
        return None

    def ema(self) -> None:
        """A moving average of the weights shows in saved files alone, if the training never calls it."""
        saved = self.pair.differences.get(Node(Stage.ARTIFACT))
        if Node(Stage.UPDATE) in self.pair.differences or saved is None:
            return
        apart = [
            site.site for site in saved.sites if site.is_tensor and site.left and site.right and EMA.search(site.site)
        ]
        if apart:
            self.lost.setdefault("ema", f"{apart[0]} differs at step {saved.step}, although the weights agree.")

    def saved(self, lost: Iterable[State]) -> dict[State, str]:
        """Returns which of these states the last checkpoint before the continued step holds."""
        key = StreamKey(self.rank, Stage.ARTIFACT)
        count = entries_below(self.whole.reader, key, self.step + 1)
        if not count:
            return {}
        content = self.whole.reader.records(key, self.whole.reader.entry(key, count - 1).step)
        kept = self.whole.reader.records(StreamKey(self.rank, Stage.UPDATE), self.step - 1)
        optimizer = {r.digest for r in kept if r.shape and _owner(r.site, self._initial_sites) is not None}
        generators = {
            r.shape for r in self.whole.records(StreamKey(self.rank, Stage.RNG), self.step) if r.site == "torch"
        }
        found: dict[State, str] = {}
        for record in content:
            for state in lost:
                if state in found:
                    continue
                if state == "optimizer":
                    same = record.digest in optimizer
                elif state == "torch":
                    same = record.dtype.endswith("uint8") and record.shape in generators
                else:
                    same = state in SAVED and SAVED[state].search(record.site) is not None
                if same:
                    found[state] = _place_in(record.site, state)
        return found

    @cached_property
    def private(self) -> tuple[str, ...]:
        key = StreamKey(self.rank, Stage.RNG)
        found = (r for r in self.whole.reader.records(key, 0) if r.site.removeprefix(SEED) in MADE)
        return tuple(dict.fromkeys(where for record in found if (where := place(record.evidence))))

    @cached_property
    def _initial_sites(self) -> set[str]:
        key = StreamKey(self.rank, Stage.INIT)
        return {record.site for record in _first(self.resumed.reader, key)}

    def _both(self, stage: Stage, step: int | None = None) -> tuple[Values, Values]:
        key = StreamKey(self.rank, stage)
        at = self.step if step is None else step
        return _values(self.whole.records(key, at)), _values(self.resumed.records(key, at))

    def _last_shared(self, key: StreamKey) -> int:
        lasts = [
            run.entry(key, count - 1).step for run in (self.whole, self.resumed) if (count := run.streams().get(key, 0))
        ]
        return min(lasts, default=self.step)

    def _noted(self, what: str) -> bool:
        return any(note.raw.get("what") == what for note in self.facts.note("restored"))


def _ahead(ours: Values, theirs: Values) -> int:
    """Returns by how many batches of a step the second run is ahead of the first: it begins with a later one of them. 0: it is not."""
    first, second = list(ours.values()), list(theirs.values())
    found = (done for done in range(1, len(first)) if first[done:] == second[: len(first) - done])
    return next(found, 0)


def _described(rows: Iterable[LostValue]) -> str:
    """Returns a sentence for each value; tensors of one container are one."""
    by_holder: dict[str, list[LostValue]] = {}
    for row in rows:
        by_holder.setdefault(row.site.partition("[")[0], []).append(row)
    sentences = []
    for holder, group in list(by_holder.items())[:DESCRIBED_MAX]:
        if len(group) == 1:
            sentences.append(group[0].description)
        else:
            at = f" ({group[0].found.where})" if group[0].found.where else ""
            sentences.append(f"{holder}{at} has other values, {len(group)} of them.")
    return " ".join(sentences)


def _first(reader: RunReader, key: StreamKey) -> list[Fingerprint]:
    return reader.records(key, reader.entry(key, 0).step) if reader.streams().get(key) else []


def _values(records: Iterable[Fingerprint]) -> Values:
    return {(r.site, r.occurrence): (r.dtype, r.shape, r.digest) for r in records}


def _states(values: Values) -> Values:
    return {at: value for at, value in values.items() if state_of(at[0]) is not None}


def _only(pattern: re.Pattern[str], values: Values) -> Values:
    return {at: value for at, value in values.items() if pattern.match(at[0])}


def _owner(site: str, parameters: set[str]) -> str | None:
    """Returns the parameter that a part of the optimizer's state belongs to; None: it is no such part."""
    name, dot, _ = site.rpartition(".")
    while dot and name not in parameters:
        name, dot, _ = name.rpartition(".")
    return name if dot and site not in parameters else None


def _rate(record: Fingerprint) -> float | None:
    options = record.evidence.get("options")
    group = options[0] if isinstance(options, list) and options else options
    rate = group.get("lr") if isinstance(group, Mapping) else None
    return rate if isinstance(rate, (int, float)) else None


def _place_in(site: str, state: State) -> str:
    """Returns `["opt"]` for `last.pt:[opt][state][0][exp_avg]`, and the file's name if it holds this state alone."""
    file, _, path = site.partition(":")
    keys = re.findall(r"\[([^\]]*)\]", path)
    in_tuple = state in ("python", "numpy") and keys[1:2] in (["0"], ["1"])
    depth = len(keys) if state == "torch" else 1 + in_tuple
    if not keys or keys[0] in ("state", "param_groups") or re.search(r"rng|random|optim|sched|scaler", file):
        return file
    return "".join(f"[{key}]" if key.isdigit() else f'["{key}"]' for key in keys[:depth])


def _scale(records: Iterable[Fingerprint]) -> float | None:
    scales = [r.evidence.get("scale") for r in records]
    return next((float(s) for s in scales if isinstance(s, (int, float)) and not isinstance(s, bool)), None)
