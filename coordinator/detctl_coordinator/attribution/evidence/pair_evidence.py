"""The evidence about one root of one pair of runs, which a signature reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from detctl_coordinator.attribution.evidence.facts import Note, of_kind, other_places, place, value_at
from detctl_coordinator.attribution.evidence.observed.optimizers import SettingChange, optimizers_at, setting_changes
from detctl_coordinator.attribution.evidence.observed.read_files import FilesCompared, compare_files, read_files
from detctl_coordinator.attribution.evidence.observed.source_lines import SourceFacts, source_of
from detctl_coordinator.attribution.evidence.settings.suspect_families import Family
from detctl_coordinator.attribution.evidence.settings.suspects import Suspect
from detctl_coordinator.attribution.measured.closer_look import Looked
from detctl_coordinator.attribution.measured.size_description import NOT_MEASURED, describe_size
from detctl_coordinator.comparison.generators import is_worker
from detctl_coordinator.comparison.pair import NodeDifference, PairComparison
from detctl_coordinator.comparison.pairing import Scope
from detctl_coordinator.comparison.reader import RunReader
from detctl_coordinator.comparison.roots import Node
from detctl_coordinator.comparison.sizes.sketches import Size
from detctl_coordinator.domain.fingerprint import Phase, Stage, StreamKey

# Stages whose values are computed in floating point.
NUMERIC = (Stage.INIT, Stage.FORWARD, Stage.LOSS, Stage.BACKWARD, Stage.COLLECTIVE, Stage.UPDATE)
DATA = (Stage.ORDER, Stage.SAMPLE, Stage.BATCH)

# File name -> its facts: `bytes`, and `content` for settings files.
Opened = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class RunFacts:
    """The facts of one run of the pair: its label, completed manifest and notes."""

    label: str
    machine: str
    manifest: dict[str, Any]
    notes: tuple[Note, ...]

    def note(self, *kinds: str) -> list[Note]:
        return of_kind(self.notes, *kinds)


@dataclass(frozen=True)
class Evidence:
    """One root of one pair. `twins_agree`: whether the twins of both configurations agree; None: not tested; False in scope
    "twins". `looked`: what a zoom into this root showed; None: there was none."""

    pair: PairComparison
    root: NodeDifference
    scope: Scope
    left: RunFacts
    right: RunFacts
    suspects: tuple[Suspect, ...] = ()
    twins_agree: bool | None = None
    other_twins_agree: bool = False  # scope "twins": the twins of another machine agree
    looked: Looked | None = None

    @property
    def stage(self) -> Stage:
        return self.root.node.stage

    @property
    def between_twins(self) -> bool:
        """Whether the two runs are twins, so that the code itself must cause the difference."""
        return self.scope == "twins"

    @property
    def other_places(self) -> str:
        """A line if the two runs are recordings of different working folders, else empty."""
        return other_places(self.left.manifest, self.right.manifest)

    def family(self, *families: Family) -> list[Suspect]:
        """Returns the suspects of these families, deliberate ones first."""
        return sorted((s for s in self.suspects if s.family in families), key=lambda s: not s.deliberate)

    def notes(self, *kinds: str) -> list[Note]:
        """Returns the notes of both runs, each once, without those of generators to which an experiment gave the same seed."""
        found = {n.identity: n for side in (self.left, self.right) for n in side.note(*kinds)}
        return [note for note in found.values() if not self._is_held(note)]

    def _is_held(self, note: Note) -> bool:
        """Returns whether an intervention in both runs takes the effect from an unseeded generator. Frozen entropy seeds private ones."""
        if note.kind != "unseeded-rng":
            return False
        held = set.intersection(*({*reader.run.spec.interventions} for reader in (self.pair.left, self.pair.right)))
        return "seed" in held or ("identity" in held and not note.raw.get("generator"))

    @property
    def variables_read(self) -> list[str]:
        """A line for each variable that differs and that the training's own code reads."""
        return [f"The script reads a variable that differs. {s.description}" for s in self.suspects if s.read_at]

    def differs(self, stage: Stage, phase: Phase = Phase.TRAIN) -> bool:
        """Returns whether a stage differs at or before the root's step."""
        difference = self.pair.differences.get(Node(stage, phase))
        return difference is not None and difference.step <= self.root.step

    @property
    def state_diverges_next(self) -> bool:
        """Whether the main process's random state diverges at the start of the next step, due to a draw inside the root's step."""
        state = self.pair.differences.get(Node(Stage.RNG))
        return state is not None and state.step == self.root.step + 1 and in_both(state)

    @property
    def one_sided_evaluation(self) -> str:
        """A line if only one run evaluates at the root's step or the step before, else empty."""
        for node, d in sorted(self.pair.differences.items()):
            alone = [s for s in d.sites if s.left is None or s.right is None]
            near = self.root.step - 1 <= d.step <= self.root.step
            if node.phase is Phase.EVAL and d.kind == "structure" and near and alone:
                side = "second" if alone[0].left is None else "first"
                return f"Only the {side} run evaluates at step {d.step}: {d.site}"
        return ""

    def observed_equal(self, stage: Stage) -> bool:
        """Returns whether both runs recorded a stage and it is equal up to the root's step."""
        return Node(stage) in self.pair.observed and not self.differs(stage)

    @property
    def size(self) -> Size | None:
        """The largest estimated size class of the differences at the root, or else in the first loss that differs."""
        sizes = [d.size for d in self.root.sites if d.size is not None]
        if not sizes and (loss := self.pair.differences.get(Node(Stage.LOSS))) is not None:
            sizes = [d.size for d in loss.sites if d.size is not None]
        return max(sizes, key=("tiny", "small", "gross").index, default=None)

    @property
    def gross_at_once(self) -> bool:
        """Whether the root, or the loss of the same step, differs by far more than another way of computing makes."""
        sizes = [d.size for d in self.root.sites]
        loss = self.pair.differences.get(Node(Stage.LOSS))
        if loss is not None and loss.step == self.root.step:
            sizes += [d.size for d in loss.sites]
        return "gross" in sizes

    @property
    def takes_other_values(self) -> bool:
        """Whether a zoom shows that the model or the loss takes other values, so that no kernel explains the root."""
        return self.looked is not None and self.looked.other_input

    @property
    def size_lines(self) -> list[str]:
        """Lines about the size of the difference: as measured, or that it was not measured."""
        if self.stage not in NUMERIC or self.root.kind != "content":
            return []
        if self.looked is None:
            return [NOT_MEASURED]
        zoom = self.looked.zoom
        if zoom.op is None:
            if zoom.inputs_equal is None or zoom.elements is None:
                return [f"Rerun at level op: {zoom.words.rstrip('.')}.", NOT_MEASURED]
            return [
                f"The first operation to differ takes other values already. The first of them: {describe_size(zoom)}"
            ]
        at = f" ({', '.join(zoom.at)})" if zoom.at else ""
        taken = {True: ", with equal inputs", False: ", with other arguments in each run", None: ""}[zoom.inputs_equal]
        return [f"The first operation to differ is {zoom.op}{at}{taken}. {describe_size(zoom)}"]

    @property
    def early_exit(self) -> str:
        """A line if one run ended before the root's step and the other continued, else empty."""
        if in_both(self.root):
            return ""
        ends = [reader.seals().get(self.root.rank) for reader in (self.pair.left, self.pair.right)]
        for seal, which in zip(ends, ("first", "second"), strict=True):
            if seal is not None and seal.reason == "exit" and seal.steps_finished <= self.root.step:
                return f"The {which} run exits after {seal.steps_finished} steps, and the other continues."
        return ""

    @cached_property
    def setting_changes(self) -> list[SettingChange]:
        """The settings of optimizers that differ at the root's step; empty if the root comes before the update."""
        return setting_changes(self.pair, self.root) if self.stage is Stage.UPDATE else []

    @property
    def optimizer_settings(self) -> list[str]:
        """A line for each setting of an optimizer's parameter groups that differs: `group0.lr differs: 0.1 vs 0.2`."""
        return [change.description for change in self.setting_changes]

    def loaded(self, optimizer: str) -> str:
        """Returns `file:line` of the load_state_dict that restored an optimizer; empty: neither run restored it."""
        for reader in (self.pair.left, self.pair.right):
            facts = optimizers_at(reader, self.root.rank, self.root.step).get(optimizer)
            if facts is not None and facts.loaded:
                return facts.loaded
        return ""

    @property
    def where(self) -> str:
        """`file:line` from the evidence of the differing fingerprint, else empty."""
        return next((w for d in self.root.sites if (w := place(d.evidence))), "")

    @staticmethod
    def _worker_sites(reader: RunReader) -> set[str]:
        """Returns the workers (`worker0`, `worker1` …) whose random states were recorded in the first step."""
        keys = [key for key in reader.streams() if key.stage is Stage.RNG]
        sites = {record.site.partition("/")[0] for key in keys for record in reader.records(key, 0)}
        return {site for site in sites if is_worker(site)}

    @cached_property
    def opened(self) -> tuple[Opened, Opened]:
        """The data files that each run opened in step 0 and in the root's step."""
        left, right = (_opened(reader, self.root) for reader in (self.pair.left, self.pair.right))
        return left, right

    @cached_property
    def read(self) -> FilesCompared:
        """How the data files differ that the two runs read, by the digests of their content."""
        return compare_files(read_files(self.left.manifest), read_files(self.right.manifest))

    @cached_property
    def source(self) -> SourceFacts:
        """Lines of the training's own source, and what the program already does."""
        return source_of(self.left.manifest, self.right.manifest)

    @cached_property
    def workers_seen(self) -> tuple[int, int] | None:
        """The largest number of DataLoader workers in the first step of each run; None if a run did not record it."""
        left, right = (max(_recorded_workers(reader), default=None) for reader in (self.pair.left, self.pair.right))
        return None if left is None or right is None else (left, right)

    def workers(self) -> int | None:
        """Returns the largest number of DataLoader workers in fingerprints, parameters and notes of the first run; None: unknown."""
        counts: list[int] = []
        for difference in self.pair.differences.values():
            for site in difference.sites:
                counts.extend(_int(site.evidence.get(k)) for k in ("workers", "num_workers") if k in site.evidence)
        parameters = value_at(self.left.manifest, "recipe", "parameters")
        for name, value in (parameters or {}).items():
            if str(name).rpartition("_")[2] == "workers":
                counts.append(_int(value))
        counts.append(len(self._worker_sites(self.pair.left)))
        for note in self.left.notes:
            counts.extend(_int(note.raw.get(k)) for k in ("workers", "num_workers") if k in note.raw)
        return max((count for count in counts if count >= 0), default=None)


def _opened(reader: RunReader, root: NodeDifference) -> Opened:
    key = StreamKey(root.rank, Stage.FILES, Phase.TRAIN)
    found: Opened = {}
    for step in {0, root.step} if key in reader.streams() else ():
        for record in reader.records(key, step):
            name, size = record.evidence.get("file"), record.evidence.get("bytes")
            if isinstance(name, str) and isinstance(size, int):
                found[name] = {**record.evidence, **found.get(name, {})}  # the first opening recorded the content
    return found


def _recorded_workers(reader: RunReader) -> Iterator[int]:
    for key in reader.streams():
        if key.stage in (Stage.ORDER, Stage.BATCH):
            yield from (_int(r.evidence["workers"]) for r in reader.records(key, 0) if "workers" in r.evidence)


def _int(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        return -1


def in_both(difference: NodeDifference) -> bool:
    """Returns whether both runs have a fingerprint that differs. If one run ended earlier, its later ones are only missing."""
    return any(site.left is not None and site.right is not None for site in difference.sites)
