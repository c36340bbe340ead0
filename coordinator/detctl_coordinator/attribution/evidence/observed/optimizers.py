"""Reads what two runs recorded of their optimizers before a step: settings with their writers, the order of parameters, restored state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from detctl_coordinator.attribution.evidence.facts import Note, place
from detctl_coordinator.comparison.alignment import SiteDifference
from detctl_coordinator.comparison.pair import NodeDifference, PairComparison
from detctl_coordinator.comparison.reader import RunReader
from detctl_coordinator.comparison.roots import UPDATE
from detctl_coordinator.comparison.steps.shifted import ShiftedRun
from detctl_coordinator.comparison.steps.window import entries_below
from detctl_coordinator.comparison.updates.before_step import is_settings, optimizer_of, state_of
from detctl_coordinator.domain.clue import Clue
from detctl_coordinator.domain.fingerprint import StreamKey

BY = {
    "constructor": "when the optimizer is made",
    "load_state_dict": "by load_state_dict",
    "scheduler": "by a scheduler",
    "assignment": "by an assignment",
}
LINES_SHOWN = 4


@dataclass(frozen=True)
class Writer:
    """What wrote a setting last. `places`: one line of the user's code if it is certain, else those that may have. `calls`: the calls
    that the value comes from, as the source shows."""

    by: str = ""
    scheduler: str = ""
    places: tuple[str, ...] = ()
    file: str = ""
    line: int | None = None
    calls: tuple[str, ...] = ()

    @property
    def certain(self) -> str:
        """The line that wrote it; empty: unknown, or one of several."""
        return self.places[0] if len(self.places) == 1 else ""

    @property
    def description(self) -> str:
        by = f"by {self.scheduler}" if self.scheduler else BY.get(self.by, "")
        lines = " or ".join(self.places[:LINES_SHOWN])
        return " ".join(part for part in (by, f"({lines})" if lines else "") if part)


@dataclass(frozen=True)
class SettingChange:
    """A setting of an optimizer's parameter group that differs: `optimizer1`, `group0.lr`, both values, and who wrote them."""

    optimizer: str
    name: str
    values: tuple[Any, Any]
    writers: tuple[Writer, Writer]
    several: bool = False  # the training has several optimizers

    @property
    def key(self) -> str:
        """The setting without its group, such as `lr`."""
        return self.name.partition(".")[2]

    @property
    def at(self) -> str:
        """The line that wrote it in both runs, or else the line of either."""
        return self.writers[0].certain or self.writers[1].certain

    @property
    def clue(self) -> Clue:
        writer = self.writers[0] if self.writers[0].certain else self.writers[1]
        return Clue(kind="optimizer-setting", call=self.name, value_kind=writer.by, file=writer.file, line=writer.line)

    @property
    def description(self) -> str:
        ours, theirs = (writer.description for writer in self.writers)
        by = (
            f", set {ours}"
            if ours == theirs and ours
            else f", set {ours or '?'} and {theirs or '?'}"
            if ours or theirs
            else ""
        )
        name = f"{self.optimizer}: {self.name}" if self.several else self.name
        return f"{name} differs: {self.values[0]} vs {self.values[1]}{by}"


@dataclass(frozen=True)
class OptimizerFacts:
    """What one run recorded of one optimizer at a step. `options`: the settings of each group. `order` and `members`: digests of the
    names of its parameters, in its order and sorted. `loaded`: file:line of the last load_state_dict; empty: none."""

    options: tuple[Mapping[str, Any], ...]
    writers: Mapping[str, Writer]
    order: str
    members: str
    loaded: str
    schedulers: tuple[Mapping[str, Any], ...]


StateKind = Literal["moved", "one-sided", "content"]


@dataclass(frozen=True)
class StateChange:
    """How the restored state of an optimizer differs. moved: the same values, on other parameters. one-sided: one run has none."""

    optimizer: str
    kind: StateKind
    moved: tuple[str, ...] = ()  # parameters whose state differs
    side: str = ""  # one-sided: the run that has the state


def optimizers_at(reader: RunReader, rank: int, step: int) -> dict[str, OptimizerFacts]:
    """Returns `optimizer1` -> what the run recorded of it at a step, or last before it. Raises DamagedError."""
    if isinstance(reader, ShiftedRun):  # evidence has the numbers of the run itself
        return optimizers_at(reader.reader, rank, step - reader.offset)
    key = StreamKey(rank, UPDATE.stage, UPDATE.phase)
    entries = entries_below(reader, key, step + 1)
    if not entries:
        return {}
    found = {}
    for record in reader.records(key, reader.entry(key, entries - 1).step):
        if is_settings(record.site):
            evidence = dict(record.evidence)
            since, whole = evidence.get("since"), evidence.get("whole")
            if isinstance(since, int) and 0 <= since <= step:
                evidence = _evidence_of(reader, key, since, record.site)
            if "order" not in evidence and isinstance(whole, int) and 0 <= whole <= step:
                first = _evidence_of(reader, key, whole, record.site)
                writers = [*_items(first.get("writers")), *_items(evidence.get("writers"))]  # the later ones count
                evidence = {**first, **evidence, "writers": writers}
            found[optimizer_of(record.site)] = _facts(evidence)
    return found


def _evidence_of(reader: RunReader, key: StreamKey, step: int, site: str) -> dict[str, Any]:
    return next((dict(r.evidence) for r in reader.records(key, step) if r.site == site), {})


def _facts(evidence: Mapping[str, Any]) -> OptimizerFacts:
    loaded = evidence.get("loaded")
    return OptimizerFacts(
        tuple(_rows(evidence.get("options"))),
        dict(_writers(evidence.get("writers"))),
        str(evidence.get("order") or ""),
        str(evidence.get("members") or ""),
        place(loaded) if isinstance(loaded, Mapping) else "",
        tuple(_rows(evidence.get("schedulers"))),
    )


def _items(value: object) -> list[Any]:
    """Returns a list that a run recorded; empty if it is something else."""
    return value if isinstance(value, list) else []


def _rows(value: object) -> list[Mapping[str, Any]]:
    return [row for row in _items(value) if isinstance(row, Mapping)]


def _writers(rows: object) -> Iterator[tuple[str, Writer]]:
    for row in _rows(rows):
        lines = _rows(row.get("lines"))
        places = tuple(dict.fromkeys(place(line) for line in (lines or [row]) if place(line)))
        line = row.get("line")
        writer = Writer(
            str(row.get("by") or ""),
            str(row.get("scheduler") or ""),
            places,
            str(row.get("file") or ""),
            line if isinstance(line, int) else None,
            tuple(map(str, _items(row.get("calls")))),
        )
        yield from ((str(name), writer) for name in _items(row.get("settings")))


def setting_changes(pair: PairComparison, root: NodeDifference) -> list[SettingChange]:
    """Returns the settings that differ at the root's step, each once even if it differs in several groups alike."""
    ours, theirs = (optimizers_at(reader, root.rank, root.step) for reader in (pair.left, pair.right))
    several = len(ours) > 1
    found: dict[tuple[object, ...], SettingChange] = {}
    for name, left in ours.items():
        right = theirs.get(name)
        for g, (a, b) in enumerate(zip(left.options, right.options, strict=False)) if right is not None else ():
            for key in (k for k in a if k in b and a[k] != b[k]):
                assert right is not None
                setting = f"group{g}.{key}"
                writers = left.writers.get(setting, Writer()), right.writers.get(setting, Writer())
                change = SettingChange(name, setting, (a[key], b[key]), writers, several)
                found.setdefault((name, key, repr(change.values)), change)
    changes = list(found.values()) or list(_changes_of_earlier_probes(root))
    return sorted(changes, key=lambda change: change.key == "initial_lr")


def _changes_of_earlier_probes(root: NodeDifference) -> Iterator[SettingChange]:
    """Yields the changes that the evidence of `group0.lr` shows: earlier versions of the probe kept the settings there."""
    for site in root.sites:
        if site.left is not None and site.right is not None:
            ours, theirs = (side.evidence.get("options") for side in (site.left, site.right))
            if not isinstance(ours, Mapping) or not isinstance(theirs, Mapping):
                continue
            group = site.site.rpartition(".")[0]
            for key in (k for k in ours if k in theirs and ours[k] != theirs[k]):
                yield SettingChange("optimizer", f"{group}.{key}", (ours[key], theirs[key]), (Writer(), Writer()))


def scheduler_lines(pair: PairComparison, root: NodeDifference) -> list[str]:
    """Returns a line for each scheduler that has stepped another number of times in the two runs."""
    lines = []
    ours, theirs = (optimizers_at(reader, root.rank, root.step) for reader in (pair.left, pair.right))
    for name, left in ours.items():
        for a, b in zip(left.schedulers, theirs[name].schedulers if name in theirs else (), strict=False):
            if a.get("steps") != b.get("steps"):
                stepped = next((s for s in (a.get("stepped"), b.get("stepped")) if isinstance(s, Mapping)), {})
                at = place(stepped)
                lines.append(
                    f"{a.get('class')} has stepped {a.get('steps')} times in one run and {b.get('steps')} in the other"
                    f"{f' ({at})' if at else ''}."
                )
    return lines


def restored_state(root: NodeDifference) -> StateChange | None:
    """Returns how the state that an optimizer has before its step differs; None: it does not, or the root is another part."""
    sites = [(site, found) for site in root.sites if (found := state_of(site.site)) is not None]
    if not sites:
        return None
    optimizer = optimizer_of(sites[0][0].site)
    sites = [(site, found) for site, found in sites if optimizer_of(site.site) == optimizer]
    parameters = tuple(dict.fromkeys(parameter for _, (parameter, _) in sites))
    sides = {site.left is None for site, _ in sites if site.left is None or site.right is None}
    if len(sides) == 1 and all(site.left is None or site.right is None for site, _ in sites):
        return StateChange(optimizer, "one-sided", parameters, "second" if sides == {True} else "first")
    return StateChange(optimizer, "moved" if _moved([site for site, _ in sites]) else "content", parameters)


def _moved(sites: list[SiteDifference]) -> bool:
    """Returns whether both runs have the same values of state, on other parameters. Values of one key, such as `exp_avg`, are counted."""
    ours, theirs = Counter[tuple[str, bytes]](), Counter[tuple[str, bytes]]()
    for site in sites:
        found = state_of(site.site)
        for side, counts in ((site.left, ours), (site.right, theirs)):
            if side is not None and found is not None:
                counts[(found[1], side.digest)] += 1
    return ours == theirs and len(ours) > 1


def tensors_moved(root: NodeDifference) -> bool:
    """Returns whether the tensors that differ at the root are the same ones under other names, as in a checkpoint that numbers them."""
    sites = [site for site in root.sites if site.is_tensor]
    ours = Counter(site.left.digest for site in sites if site.left is not None)
    theirs = Counter(site.right.digest for site in sites if site.right is not None)
    return ours == theirs and len(ours) > 1


def parameter_order_differs(pair: PairComparison, root: NodeDifference) -> str:
    """Returns the first optimizer whose parameters are in another order in the two runs; empty: their order agrees or is unknown."""
    ours, theirs = (optimizers_at(reader, root.rank, root.step) for reader in (pair.left, pair.right))
    for name, left in ours.items():
        right = theirs.get(name)
        known = right is not None and bool(left.order and right.order)
        if right is not None and known and left.members == right.members and left.order != right.order:
            return name
    return ""


def scale_change(root: NodeDifference) -> tuple[float, float] | None:
    """Returns the scales of a GradScaler at a root in stage loss, if they differ."""
    for site in root.sites:
        if site.left is not None and site.right is not None:
            left, right = site.left.evidence.get("scale"), site.right.evidence.get("scale")
            if isinstance(left, (int, float)) and isinstance(right, (int, float)) and left != right:
                return left, right
    return None


def made_differently(ours: list[Note], theirs: list[Note]) -> list[str]:
    """Returns lines about schedulers and scalers that the two runs made with other settings. Notes of one kind, in order."""
    lines = []
    for a, b in zip(ours, theirs, strict=False):
        left, right = (note.raw.get("settings") or {} for note in (a, b))
        if not isinstance(left, Mapping) or not isinstance(right, Mapping) or a.raw.get("class") != b.raw.get("class"):
            continue
        for key in (k for k in left if k in right and left[k] != right[k]):
            at = f" ({a.where})" if a.where else ""
            lines.append(f"{key} of {a.raw.get('class')} is {left[key]} in one run and {right[key]} in the other{at}.")
    return lines
