"""What a signature gets to see, and what it says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from detctl_proto.verdict_words import KindWord, OriginWord

from detctl_coordinator.attribution.evidence.descriptions import CAUSES
from detctl_coordinator.attribution.evidence.facts import Note, of_kind, place, value_at
from detctl_coordinator.attribution.evidence.suspects import Family, Suspect
from detctl_coordinator.comparison.first_divergence import Lasting
from detctl_coordinator.comparison.generators import is_worker
from detctl_coordinator.comparison.pair import NodeDifference, PairComparison
from detctl_coordinator.comparison.pairing import Scope
from detctl_coordinator.comparison.reader import RunReader
from detctl_coordinator.comparison.roots import Node
from detctl_coordinator.comparison.sketches import Size
from detctl_coordinator.domain.clue import Clue
from detctl_coordinator.domain.fingerprint import Phase, Stage, StreamKey

# Stages whose values are computed in floating point.
NUMERIC = (Stage.INIT, Stage.FORWARD, Stage.LOSS, Stage.BACKWARD, Stage.COLLECTIVE, Stage.UPDATE)
DATA = (Stage.ORDER, Stage.SAMPLE, Stage.BATCH)

# Name of a file -> what is known of it: `bytes`, of settings files `content`.
Opened = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class RunFacts:
    """One run of the pair: label, completed manifest, notes."""

    label: str
    machine: str
    manifest: dict[str, Any]
    notes: tuple[Note, ...]

    def note(self, *kinds: str) -> list[Note]:
        return of_kind(self.notes, *kinds)


@dataclass(frozen=True)
class Evidence:
    """One root of one pair. `twins_agree`: of the arms concerned, None: not tested; in scope "twins" it is False."""

    pair: PairComparison
    root: NodeDifference
    scope: Scope
    left: RunFacts
    right: RunFacts
    suspects: tuple[Suspect, ...] = ()
    twins_agree: bool | None = None
    elsewhere_agree: bool = False  # scope "twins": the twins of another machine agree

    @property
    def stage(self) -> Stage:
        return self.root.node.stage

    @property
    def within(self) -> bool:
        """Runs of one arm, or runs whose twins were never tested: the code itself may bring the difference."""
        return self.scope == "twins"

    def family(self, *families: Family) -> list[Suspect]:
        """Suspects of these families, deliberate ones first."""
        return sorted((s for s in self.suspects if s.family in families), key=lambda s: not s.deliberate)

    def notes(self, *kinds: str) -> list[Note]:
        """Notes of both runs, each once."""
        found = {n.identity: n for side in (self.left, self.right) for n in side.note(*kinds)}
        return list(found.values())

    @property
    def variables_read(self) -> list[str]:
        """A line for each variable that differs and that the training's own code asks for."""
        return [f"the script asks for a variable that differs: {s.words}" for s in self.suspects if s.read_at]

    def differs(self, stage: Stage, phase: Phase = Phase.TRAIN) -> bool:
        """Whether a stage differs at or before the root's step."""
        difference = self.pair.differences.get(Node(stage, phase))
        return difference is not None and difference.step <= self.root.step

    @property
    def state_parts_next(self) -> bool:
        """The random state of the main process parts at the start of the next step: somebody drew inside the root's step."""
        state = self.pair.differences.get(Node(Stage.RNG))
        return state is not None and state.step == self.root.step + 1 and in_both(state)

    @property
    def evaluates_alone(self) -> str:
        """One line where one run alone evaluates at the root's step or the step before; empty where not."""
        for node, d in sorted(self.pair.differences.items()):
            alone = [s for s in d.sites if s.left is None or s.right is None]
            near = self.root.step - 1 <= d.step <= self.root.step
            if node.phase is Phase.EVAL and d.kind == "structure" and near and alone:
                side = "second" if alone[0].left is None else "first"
                return f"only the {side} run evaluates at step {d.step}: {d.site}"
        return ""

    def observed_equal(self, stage: Stage) -> bool:
        """Observed on both sides and equal up to the root's step."""
        return Node(stage) in self.pair.observed and not self.differs(stage)

    @property
    def size(self) -> Size | None:
        """The largest size class that sketches show: at the root, else in the loss of that step or of a later one."""
        sizes = [d.size for d in self.root.sites if d.size is not None]
        if not sizes and (loss := self.pair.differences.get(Node(Stage.LOSS))) is not None:
            sizes = [d.size for d in loss.sites if d.size is not None]
        return max(sizes, key=("ulp", "small", "gross").index, default=None)

    @property
    def ended_by_itself(self) -> str:
        """One line where one run ended before the root's step and the other went on; empty where not."""
        if in_both(self.root):
            return ""
        ends = [reader.seals().get(self.root.rank) for reader in (self.pair.left, self.pair.right)]
        for seal, which in zip(ends, ("first", "second"), strict=True):
            if seal is not None and seal.reason == "exit" and seal.steps_finished <= self.root.step:
                return f"the {which} run ends by itself after {seal.steps_finished} steps, and the other goes on"
        return ""

    @property
    def optimizer_settings(self) -> list[str]:
        """A line for each setting that differs in an optimizer's groups, where their learning rates do: `group0.lr: 0.1 against 0.2`."""
        lines = []
        for site in self.root.sites:
            if site.left is None or site.right is None:
                continue
            ours, theirs = (side.evidence.get("options") or {} for side in (site.left, site.right))
            group = site.site.rpartition(".")[0]
            lines += [
                f"{group}.{k}: {ours[k]} against {theirs[k]}" for k in ours if k in theirs and ours[k] != theirs[k]
            ]
        return lines

    @property
    def where(self) -> str:
        """file:line that the differing record's evidence names."""
        return next((w for d in self.root.sites if (w := place(d.evidence))), "")

    @staticmethod
    def _worker_sites(reader: RunReader) -> set[str]:
        """`worker0`, `worker1` … whose random states were recorded before the first step ended."""
        keys = [key for key in reader.streams() if key.stage is Stage.RNG]
        sites = {record.site.partition("/")[0] for key in keys for record in reader.records(key, 0)}
        return {site for site in sites if is_worker(site)}

    @cached_property
    def opened(self) -> tuple[Opened, Opened]:
        """The data files that each run opened in step 0 and in the root's step: opening order is known, so the first steps tell."""
        left, right = (_opened(reader, self.root) for reader in (self.pair.left, self.pair.right))
        return left, right

    @cached_property
    def workers_seen(self) -> tuple[int, int] | None:
        """The largest number of DataLoader workers that each run's first step tells; None where one tells of none."""
        left, right = (max(_workers_told(reader), default=None) for reader in (self.pair.left, self.pair.right))
        return None if left is None or right is None else (left, right)

    def workers(self) -> int | None:
        """The largest number of DataLoader workers that records, parameters or notes of the first run tell."""
        told: list[int] = []
        for difference in self.pair.differences.values():
            for site in difference.sites:
                told.extend(_int(site.evidence.get(k)) for k in ("workers", "num_workers") if k in site.evidence)
        parameters = value_at(self.left.manifest, "recipe", "parameters")
        for name, value in (parameters or {}).items():
            if str(name).rpartition("_")[2] == "workers":
                told.append(_int(value))
        told.append(len(self._worker_sites(self.pair.left)))
        for note in self.left.notes:
            told.extend(_int(note.raw.get(k)) for k in ("workers", "num_workers") if k in note.raw)
        return max((t for t in told if t >= 0), default=None)


def _opened(reader: RunReader, root: NodeDifference) -> Opened:
    key = StreamKey(root.rank, Stage.FILES, Phase.TRAIN)
    found: Opened = {}
    for step in {0, root.step} if key in reader.streams() else ():
        for record in reader.records(key, step):
            name, size = record.evidence.get("file"), record.evidence.get("bytes")
            if isinstance(name, str) and isinstance(size, int):
                found[name] = {**record.evidence, **found.get(name, {})}  # its first opening tells the content
    return found


def _workers_told(reader: RunReader) -> Iterator[int]:
    for key in reader.streams():
        if key.stage in (Stage.ORDER, Stage.BATCH):
            yield from (_int(r.evidence["workers"]) for r in reader.records(key, 0) if "workers" in r.evidence)


def _int(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        return -1


def in_both(difference: NodeDifference) -> bool:
    """Whether both runs have a record that differs: of a run that ended earlier the later ones are merely missing."""
    return any(site.left is not None and site.right is not None for site in difference.sites)


@dataclass(frozen=True)
class CauseFinding:
    """A cause at a root, indicated; `evidence` in sentences, most telling first. What later code decides on is in `clues`,
    `fix_settings` and `fix_at` (domain/verdict.py says what they hold); `caveats` fall away with an experiment."""

    cause: str
    origin: OriginWord | None
    stage: Stage
    step: int
    site: str
    kind: KindWord
    evidence: tuple[str, ...]
    fix: str
    runs: tuple[str, ...] = ()
    carried_on_to: tuple[Stage, ...] = field(default=())
    lasting: Lasting = "persistent"
    words: str = ""
    caveats: tuple[str, ...] = ()
    clues: tuple[Clue, ...] = ()
    fix_settings: tuple[str, ...] = ()
    fix_at: str = ""


Signature = Callable[[Evidence], list[CauseFinding]]


def finding(
    evidence: Evidence,
    cause: str,
    lines: Sequence[str],
    fix: str,
    *,
    origin: OriginWord | None = None,
    caveats: Sequence[str] = (),
    clues: Sequence[Clue] = (),
    fix_settings: Sequence[str] = (),
    fix_at: str = "",
) -> CauseFinding:
    """A cause at the root of this evidence; the origin is that of the word unless another is given."""
    root = evidence.root
    carried = sorted({node.stage for node in evidence.pair.carried_on(root)} - {root.node.stage})
    return CauseFinding(
        cause=cause,
        origin=origin or CAUSES[cause],
        stage=root.node.stage,
        step=root.step,
        site=root.site,
        kind=root.kind,
        evidence=tuple(dict.fromkeys(line for line in lines if line)),
        fix=fix,
        runs=(evidence.left.label, evidence.right.label),
        carried_on_to=tuple(carried),
        lasting=root.lasting,
        words=root.words,
        caveats=tuple(caveats),
        clues=tuple(dict.fromkeys(clues)),
        fix_settings=tuple(dict.fromkeys(fix_settings)),
        fix_at=fix_at,
    )


def describe(evidence: Evidence) -> str:
    """What differs at the root, in one line."""
    root = evidence.root
    lead = root.lead
    words = f": {lead.words}" if lead is not None and lead.words else ""
    more = f" (and {len(root.sites) - 1} more records of this step)" if len(root.sites) > 1 else ""
    return f"{root.site} at step {root.step}{_on_ranks(evidence)}{words}{more}"


def _on_ranks(evidence: Evidence) -> str:
    """` on rank 1 of 4`, where there is more than one."""
    world = len({key.rank for key in evidence.pair.left.streams()})
    ranks = evidence.root.ranks
    if world < 2 or not ranks:
        return ""
    if len(ranks) == world:
        return f" on all {world} ranks"
    return f" first on rank{'s' if len(ranks) > 1 else ''} {', '.join(map(str, ranks))} of {world}"
