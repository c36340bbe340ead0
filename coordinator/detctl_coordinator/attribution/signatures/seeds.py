"""identity-seed, unseeded-rng, worker-seeding, extra-rng-draw: where random numbers come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from detctl_coordinator.attribution.evidence.entropy import entropy, shuffled_by_system
from detctl_coordinator.attribution.evidence.evidence import (
    DATA,
    CauseFinding,
    Evidence,
    RunFacts,
    describe,
    finding,
    in_both,
)
from detctl_coordinator.attribution.evidence.facts import Note, location_of
from detctl_coordinator.attribution.evidence.hashing import counts_may_be_hashes
from detctl_coordinator.attribution.evidence.moved import moved
from detctl_coordinator.comparison.roots import WORKERS, Node
from detctl_coordinator.domain.clue import Clue
from detctl_coordinator.domain.fingerprint import Stage

STAGES = (Stage.RNG, Stage.INIT, Stage.FILES, *DATA, Stage.FORWARD, Stage.LOSS)
SEEDINGS = "seed/"  # sites of seeding calls in stage rng
SEED_FIX = "seed random, numpy and torch at the start of the script: detctl_probe.set_deterministic(seed)"


def identity_seed(evidence: Evidence) -> list[CauseFinding]:
    """The same seeding call got another value, or a note saw a clock, PID, hostname or path feed a seed."""
    if evidence.stage not in STAGES or evidence.family("seed"):
        return []
    changed = _changed_seeds(evidence)
    system = entropy(evidence)
    notes = [n for n in evidence.notes("identity", "identity-seed") if n not in system]
    noted = [n.words for n in notes]
    # A program may read the clock for its log: the note alone counts only where no generator is known to be unseeded.
    sure = changed and (not evidence.notes("unseeded-rng") or any(n.clue.value_kind for n in notes))
    likely = noted and not evidence.notes("unseeded-rng") and _random_root(evidence)
    if not sure and not likely:
        return []
    lines = [*(seed.words for seed in changed), *noted, *evidence.variables_read, describe(evidence)]
    if evidence.twins_agree:
        lines.append(
            "twins agree and machines do not: the value comes from the machine (hostname, path), not from a clock"
        )
    fix = "seed with a constant or a parameter, not with the time, a PID, a host name or a path"
    clues = [*(seed.clue for seed in changed), *_root_seedings(evidence), *(n.clue for n in notes)]
    return [finding(evidence, "identity-seed", lines, fix, clues=clues)]


def unseeded_rng(evidence: Evidence) -> list[CauseFinding]:
    """A generator that no seed reaches: told by a note, by the first RNG state, or by random values beside equal states."""
    told_by_twins = not evidence.twins_agree and (evidence.within or evidence.scope == "runs")
    # Settings that differ though both were asked the same have been drawn, by a search for example.
    asked_alike = evidence.within or not evidence.suspects
    settings = evidence.optimizer_settings if evidence.stage is Stage.UPDATE and asked_alike else []
    if not (evidence.stage in STAGES or settings) or not (told_by_twins or _noted_and_untested(evidence)):
        return []
    notes = [n for n in evidence.notes("unseeded-rng") if not _in_worker(n)]
    lines = [n.words for n in notes]
    if evidence.stage is Stage.RNG:
        if evidence.root.step > 0 and not notes:
            return []
        names = ", ".join(dict.fromkeys(d.site for d in evidence.root.sites))
        lines.append(f"the state of {names} differs at the start of step {evidence.root.step}: no seed reached it")
    elif not notes and (drawn := _drawn_from_system(evidence)):
        notes = drawn
        lines += [n.words for n in notes]
        lines.append("the random states that are recorded agree; no seed reaches what the system gives")
    elif not notes and (settings or not _looks_drawn(evidence)):
        return []
    elif not notes and (early := evidence.notes("drawn-before-seed")):
        lines += [n.words for n in early]
    elif not notes:
        lines.append(
            "the random states that are recorded agree, so the values come from a private generator, or from memory that nobody has filled"
        )
    lines += [*settings, describe(evidence)]
    named = next((n for n in notes if n.where), None)
    fix, at = SEED_FIX, ""
    if named:
        fix, at = _seed_there(named), named.where
    elif notes and evidence.where:
        fix, at = f"seed the generator at {evidence.where}", evidence.where
    return [finding(evidence, "unseeded-rng", lines, fix, clues=[n.clue for n in notes], fix_at=at)]


def _seed_there(note: Note) -> str:
    """A global generator before it is used; inside a package nobody can seed: where it is called."""
    package, shared = note.raw.get("package"), note.raw.get("generator")
    if package:
        return f"give {package} a seed where {note.where} calls it"
    return f"seed {shared} before {note.where}" if shared else f"seed the generator at {note.where}"


def worker_seeding(evidence: Evidence) -> list[CauseFinding]:
    """Samples differ between twins while the main process is seeded and its order agrees, and workers are in use."""
    noted = [n for n in evidence.notes("worker-seeding", "unseeded-rng") if _in_worker(n) or n.kind == "worker-seeding"]
    in_workers = evidence.root.node.part == WORKERS
    if evidence.stage not in (Stage.SAMPLE, Stage.BATCH) and not in_workers:
        return []
    if evidence.twins_agree or not (evidence.within or evidence.scope == "runs"):
        return []
    workers = evidence.workers() or 0
    main_unseeded = any(not _in_worker(n) for n in evidence.notes("unseeded-rng"))
    seeded = not main_unseeded and not evidence.differs(Stage.RNG)
    if not seeded or (workers < 1 and not noted and not in_workers):
        return []
    lines = [n.words for n in noted]
    lines.append(describe(evidence))
    lines.append("the main process is seeded and its order agrees; what the workers drew does not")
    fix = "give the DataLoader a seeded generator and a worker_init_fn that seeds numpy and random from torch.initial_seed()"
    at = ""
    private = next((n for n in noted if n.where and n.raw.get("call")), None)
    if private:
        fix = f"{_seed_there(private)}, made of torch.initial_seed(): no worker_init_fn reaches it"
        at = private.where
    return [finding(evidence, "worker-seeding", lines, fix, clues=[n.clue for n in noted], fix_at=at)]


def extra_rng_draw(evidence: Evidence) -> list[CauseFinding]:
    """A seeded generator's state differs from some step on, though what was computed before agrees."""
    root = evidence.root
    if evidence.family("seed", "library"):
        return []
    if evidence.stage in (Stage.SAMPLE, Stage.BATCH, Stage.FORWARD, Stage.LOSS) and evidence.state_parts_next:
        return [_inside_step(evidence)]
    if evidence.stage is not Stage.RNG or not in_both(root):
        return []
    names = ", ".join(dict.fromkeys(d.site for d in root.sites)) or "a generator"
    before = root.step - 1
    when = f"between the starts of steps {before} and {root.step}" if root.step else "before the first step"
    lines = [f"somebody drew from {names} {when} in one run and not in the other"]
    update = evidence.pair.differences.get(Node(Stage.UPDATE))
    if root.step > 0 and (update is None or update.step >= root.step):
        lines.append("weights were still equal when the state parted")
    lines += [n.words for n in evidence.notes("rng-draw", "draw")]
    lines.append(describe(evidence))
    lines += _who_may_draw(evidence)
    return [_extra_draw(evidence, lines)]


def _inside_step(evidence: Evidence) -> CauseFinding:
    """The values that a step drew differ, and the state that it left behind: the draw came before them, inside the step."""
    state = evidence.pair.differences[Node(Stage.RNG)]
    names = ", ".join(dict.fromkeys(d.site for d in state.sites)) or "a generator"
    lines = [
        f"somebody drew from {names} inside step {evidence.root.step}, in one run and not in the other",
        f"the state was equal at the start of step {evidence.root.step} and differs at the start of step {state.step}",
        describe(evidence),
        *_who_may_draw(evidence),
    ]
    return _extra_draw(evidence, lines)


def _extra_draw(evidence: Evidence, lines: list[str]) -> CauseFinding:
    where = f" ({evidence.where})" if evidence.where else "; look at logging, plotting and evaluation code"
    clues = [n.clue for n in evidence.notes("rng-draw", "draw")]
    fix = f"give the extra draw a generator of its own{where}"
    return finding(evidence, "extra-rng-draw", lines, fix, clues=clues, fix_at=evidence.where)


def _who_may_draw(evidence: Evidence) -> list[str]:
    """What one run did and the other did not about then: an evaluation, or a variable that the script asks for."""
    alone = evidence.evaluates_alone
    lines = [alone] if alone else []
    return lines + evidence.variables_read


def _drawn_from_system(evidence: Evidence) -> list[Note]:
    """Entropy that the user's code asked for, where other values could be its: not where a race or a hash fits better."""
    if evidence.stage in (Stage.FORWARD, Stage.LOSS) or evidence.root.kind == "structure":
        return []
    if (evidence.root.kind == "permutation" or moved(evidence)) and not shuffled_by_system(evidence):
        return []
    return entropy(evidence)


def _looks_drawn(evidence: Evidence) -> bool:
    """Without a note: other values where values are drawn. Moved samples look like a race, a model's outputs like a kernel."""
    if evidence.stage in (Stage.FORWARD, Stage.LOSS) or evidence.root.kind == "structure":
        return False
    if evidence.notes("unordered"):
        return False
    way = moved(evidence)
    if counts_may_be_hashes(evidence) or (way is not None and way.nearby):
        return False
    return evidence.root.kind != "permutation" or evidence.stage in (Stage.INIT, Stage.ORDER)


def _random_root(evidence: Evidence) -> bool:
    """Runs part in a random state, or in initial values or order by more than rounding, and twins do not agree."""
    if evidence.twins_agree:
        return False
    return evidence.stage is Stage.RNG or (evidence.stage in (Stage.INIT, Stage.ORDER) and evidence.size != "ulp")


def _noted_and_untested(evidence: Evidence) -> bool:
    """Across arms without twins a note alone may speak; with agreeing twins an unseeded generator is excluded."""
    return (
        evidence.stage in STAGES
        and evidence.twins_agree is None
        and any(not _in_worker(n) for n in evidence.notes("unseeded-rng"))
    )


def _in_worker(note: Note) -> bool:
    return note.raw.get("role") == "worker" or note.raw.get("worker") is not None


@dataclass(frozen=True)
class ChangedSeed:
    """A seeding call that got another value in the second run. call: empty where the note does not name it."""

    call: str
    label: str
    values: tuple[Any, Any]
    file: str
    line: int | None

    @property
    def clue(self) -> Clue:
        return Clue(kind="seeding", call=self.call, file=self.file, line=self.line)

    @property
    def words(self) -> str:
        at = f" ({self.clue.where})" if self.clue.where else ""
        return f"{self.label} got {self.values[0]} in one run and {self.values[1]} in the other{at}"


def _changed_seeds(evidence: Evidence) -> list[ChangedSeed]:
    """Seeding calls (from notes and from records of the rng stage) whose value differs between the runs."""
    ours, theirs = (_noted_seeds(side) for side in (evidence.left, evidence.right))
    found = []
    for key, (note, value) in ours.items():
        other = theirs[key][1] if key in theirs else None
        if None not in (value, other) and value != other:
            found.append(ChangedSeed(key[0], key[0] or "a seed", (value, other), **location_of(note.raw)))
    rng = evidence.pair.differences.get(Node(Stage.RNG))
    for d in rng.sites if rng is not None else ():
        if d.left is None or d.right is None or d.kind == "structure":
            continue
        a, b = d.left.evidence.get("value"), d.right.evidence.get("value")
        if a is not None and b is not None and a != b:
            found.append(ChangedSeed(_seeding_call(d.site), d.site, (a, b), **location_of(d.evidence)))
    return list(dict.fromkeys(found))


def _noted_seeds(facts: RunFacts) -> dict[tuple[str, str, int], tuple[Note, Any]]:
    """(call, where, how many before it at that place) -> the note and the value."""
    seen: dict[tuple[str, str, int], tuple[Note, Any]] = {}
    for note in facts.note("seed"):
        name = str(note.raw.get("generator") or note.raw.get("call") or "")
        key = (name, note.where, sum(1 for k in seen if k[:2] == (name, note.where)))
        seen[key] = (note, note.raw.get("value"))
    return seen


def _root_seedings(evidence: Evidence) -> list[Clue]:
    """Seeding calls among the sites of the root."""
    return [
        Clue(kind="seeding", call=call, **location_of(d.evidence))
        for d in evidence.root.sites
        if (call := _seeding_call(d.site))
    ]


def _seeding_call(site: str) -> str:
    """`torch.manual_seed` of the site `seed/torch.manual_seed`; empty for a site of another kind."""
    return site.removeprefix(SEEDINGS) if site.startswith(SEEDINGS) else ""
