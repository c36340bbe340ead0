"""identity-seed, unseeded-rng, worker-seeding, extra-rng-draw: causes of different random numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from detctl_coordinator.attribution.evidence.advice import loader_arguments, seed_all
from detctl_coordinator.attribution.evidence.cause_finding import CauseFinding, describe, finding
from detctl_coordinator.attribution.evidence.facts import Note, location_of
from detctl_coordinator.attribution.evidence.hash_seed import integers_may_be_hashes
from detctl_coordinator.attribution.evidence.interleaving import interleaving_of
from detctl_coordinator.attribution.evidence.observed.source_lines import SEEDS
from detctl_coordinator.attribution.evidence.outside import (
    NAMES,
    VALUE,
    OutsideRead,
    drawing_commands,
    drawing_queries,
    reads_that_differ,
)
from detctl_coordinator.attribution.evidence.pair_evidence import DATA, Evidence, RunFacts, in_both
from detctl_coordinator.attribution.evidence.reordering import other_rows, reordering_of
from detctl_coordinator.attribution.evidence.system_entropy import drawn_numbers, entropy_reads, uses_system_random
from detctl_coordinator.comparison.roots import WORKERS, Node
from detctl_coordinator.domain.clue import Clue
from detctl_coordinator.domain.fingerprint import Stage

STAGES = (Stage.RNG, Stage.INIT, Stage.FILES, *DATA, Stage.FORWARD, Stage.LOSS)
SEEDINGS = "seed/"  # prefix of the sites of seeding calls in stage rng


def identity_seed(evidence: Evidence) -> list[CauseFinding]:
    """Matches if a seeding call got different values, or a note reports that a clock, PID, host name or path feeds a seed."""
    if evidence.stage not in STAGES or evidence.family("seed"):
        return []
    changed = changed_seeds(evidence)
    system = entropy_reads(evidence)
    notes = [n for n in evidence.notes("identity", "identity-seed") if n not in system]
    noted = [n.description for n in notes]
    # A program may read the clock for its log, so a note alone counts only if no generator is known to be unseeded.
    sure = changed and (not evidence.notes("unseeded-rng") or any(n.clue.value_kind for n in notes))
    likely = noted and not evidence.notes("unseeded-rng") and _random_root(evidence)
    if not sure and not likely:
        return []
    lines = [*(seed.description for seed in changed), *noted, *evidence.variables_read, describe(evidence)]
    if evidence.twins_agree:
        lines.append(
            "Twins agree and machines differ, so the value comes from the machine (host name, path) and not from a clock."
        )
    sources = [read for read in reads_that_differ(evidence) if read.use == VALUE]
    places = {seed.clue.where for seed in changed}
    lines += [read.description for read in sources if read.where in places]
    fix, at = _constant_seed(evidence, changed, [read for read in sources if read.where in places])
    clues = [*(seed.clue for seed in changed), *_root_seedings(evidence), *(n.clue for n in notes)]
    return [finding(evidence, "identity-seed", lines, fix, clues=clues, fix_at=at)]


def _constant_seed(evidence: Evidence, changed: list[ChangedSeed], sources: list[OutsideRead]) -> tuple[str, str]:
    """Returns what to change, and where: the line that seeds, if there is one, and what it takes the seed from, if that is known."""
    places = {seed.clue.where: seed for seed in changed if seed.clue.where}
    if len(places) != 1:
        return "Seed with a constant or a parameter, not with the time, a PID, a host name or a path.", ""
    where, seed = next(iter(places.items()))
    quoted = evidence.source.quoted(seed.file, seed.line)
    names = list(dict.fromkeys(NAMES.get(read.source, read.source) for read in sources))
    instead = f"not with {' and '.join(names)}" if names else "not with the time, a PID, a host name or a path"
    return f"Seed with a constant or a parameter at {where}{f' (`{quoted}`)' if quoted else ''}, {instead}.", where


def unseeded_rng(evidence: Evidence) -> list[CauseFinding]:
    """Matches a generator that no seed controls: a note reports it, its first state differs, or values differ that look random
    although all recorded states agree."""
    possible = not evidence.twins_agree and (evidence.between_twins or evidence.scope == "runs")
    # Optimizer settings that differ between runs with equal requests were drawn at random, for example by a search.
    same_request = evidence.between_twins or not evidence.suspects
    settings = evidence.optimizer_settings if evidence.stage is Stage.UPDATE and same_request else []
    drew = evidence.looked is not None and evidence.looked.drew_otherwise
    if not (evidence.stage in STAGES or settings or drew) or not (possible or _noted_and_untested(evidence)):
        return []
    notes = [n for n in evidence.notes("unseeded-rng") if not _in_worker(n)]
    lines = [n.description for n in notes]
    if evidence.stage is Stage.RNG:
        if not notes and (evidence.root.step > 0 or not in_both(evidence.root)):
            return []
        names = ", ".join(dict.fromkeys(d.site for d in evidence.root.sites))
        lines.append(f"The state of {names} differs at the start of step {evidence.root.step}: no seed controls it.")
    elif not notes and (drawn := _drawn_from_system(evidence)):
        notes = drawn
        lines += [n.description for n in notes]
        lines.append("All recorded random states agree, but no seed controls random bytes from the operating system.")
    elif not notes and (private := _private_draws(evidence, settings, drew=drew)):
        notes = private
        lines += [n.description for n in private]
    elif not notes and (settings or not _looks_drawn(evidence)):
        return []
    elif not notes and (early := evidence.notes("drawn-before-seed")):
        lines += [n.description for n in early]
    elif not notes:
        return []  # nothing drew that was seen
    lines += [f"{n.text} ({n.where})" for n in (*drawing_commands(evidence), *drawing_queries(evidence)) if n.where]
    lines += [*settings, describe(evidence)]
    if drew:
        lines += evidence.size_lines
    named = next((n for n in notes if n.where), None)
    fix, at = seed_all(evidence.source, evidence.root.site), ""
    if named:
        fix, at = f"{_seed_there(named)}{_skipped_seed(evidence, named)}.", named.where
    elif notes and evidence.where:
        fix, at = f"Seed the generator at {evidence.where}.", evidence.where
    return [finding(evidence, "unseeded-rng", lines, fix, clues=[n.clue for n in notes], fix_at=at)]


def _private_draws(evidence: Evidence, settings: Sequence[str], *, drew: bool) -> list[Note]:
    """Returns the notes of private generators that seed themselves, if values differ that look drawn, an operation drew them, or only
    they explain another setting of an optimizer: random states, weights and gradients agree up to it."""
    explains = not any(read.use for read in reads_that_differ(evidence)) if settings else _looks_drawn(evidence)
    return evidence.notes("self-seeded") if drew or explains else []


def _seed_there(note: Note) -> str:
    """Returns how to seed the generator that a note names. One inside a package is seeded through the call of the package."""
    if note.kind == "self-seeded":
        return f"Call manual_seed(seed) instead of seed() at {note.where}"
    if note.kind == "identity":
        return f"Seed with a constant or a parameter instead of {note.raw.get('call')} at {note.where}"
    package, shared = note.raw.get("package"), note.raw.get("generator")
    if package:
        return f"Pass a seed to {package} at {note.where}"
    return f"Seed {shared} before {note.where}" if shared else f"Seed the generator at {note.where}"


def _skipped_seed(evidence: Evidence, note: Note) -> str:
    """Returns that the program has a call that seeds the generator, but did not make it: `if args.seed is not None: …`."""
    shared = str(note.raw.get("generator") or "")
    if note.kind != "unseeded-rng" or note.raw.get("package") or shared not in SEEDS:
        return ""
    if not (evidence.source.known and evidence.source.seeds(shared)):
        return ""
    return f". The program has a call that seeds {shared}, but it was not made: look at what it depends on, such as an option --seed"


def worker_seeding(evidence: Evidence) -> list[CauseFinding]:
    """Matches if samples differ between twins with DataLoader workers, while the main process is seeded and its order agrees."""
    noted = [n for n in evidence.notes("worker-seeding", "unseeded-rng") if _in_worker(n) or n.kind == "worker-seeding"]
    in_workers = evidence.root.node.part == WORKERS
    if evidence.stage not in (Stage.SAMPLE, Stage.BATCH) and not in_workers:
        return []
    if evidence.twins_agree or not (evidence.between_twins or evidence.scope == "runs"):
        return []
    workers = evidence.workers() or 0
    main_unseeded = any(not _in_worker(n) for n in evidence.notes("unseeded-rng"))
    seeded = not main_unseeded and not evidence.differs(Stage.RNG)
    if not seeded or (workers < 1 and not noted and not in_workers):
        return []
    lines = [n.description for n in noted]
    lines.append(describe(evidence))
    lines.append("The main process is seeded and its order agrees, but random draws inside the workers differ.")
    fix = loader_arguments(evidence.source)
    at = ""
    private = next((n for n in noted if n.where and n.raw.get("call")), None)
    if private:
        fix = f"{_seed_there(private)}, and derive the seed from torch.initial_seed(); a worker_init_fn cannot seed it."
        at = private.where
    return [finding(evidence, "worker-seeding", lines, fix, clues=[n.clue for n in noted], fix_at=at)]


def extra_rng_draw(evidence: Evidence) -> list[CauseFinding]:
    """Matches if the state of a seeded generator differs from some step on, though all values before it agree."""
    root = evidence.root
    if evidence.family("seed", "library"):
        return []
    continued = evidence.pair.continuation
    if continued is not None and root.step <= continued.step + 1:
        return []  # what else a restart lost may decide what is drawn
    if evidence.stage in (Stage.SAMPLE, Stage.BATCH, Stage.FORWARD, Stage.LOSS) and evidence.state_diverges_next:
        return [_inside_step(evidence)]
    if evidence.stage is not Stage.RNG or not in_both(root):
        return []
    names = ", ".join(dict.fromkeys(d.site for d in root.sites)) or "a generator"
    before = root.step - 1
    when = f"between the starts of steps {before} and {root.step}" if root.step else "before the first step"
    lines = [f"Only one run drew from {names} {when}."]
    update = evidence.pair.differences.get(Node(Stage.UPDATE))
    if root.step > 0 and (update is None or update.step >= root.step):
        lines.append("The weights were still equal when the state diverged.")
    lines += [n.description for n in evidence.notes("rng-draw", "draw")]
    lines.append(describe(evidence))
    lines += _possible_draws(evidence)
    return [_extra_draw(evidence, lines)]


def _inside_step(evidence: Evidence) -> CauseFinding:
    """Returns the cause if the random values of a step differ and so does the state after it: the draw is inside the step."""
    state = evidence.pair.differences[Node(Stage.RNG)]
    names = ", ".join(dict.fromkeys(d.site for d in state.sites)) or "a generator"
    lines = [
        f"Only one run drew from {names} inside step {evidence.root.step}.",
        f"The state is equal at the start of step {evidence.root.step} and differs at the start of step {state.step}.",
        describe(evidence),
        *_possible_draws(evidence),
    ]
    return _extra_draw(evidence, lines)


def _extra_draw(evidence: Evidence, lines: list[str]) -> CauseFinding:
    where = f" ({evidence.where})." if evidence.where else ". Look at logging, plotting and evaluation code."
    clues = [n.clue for n in evidence.notes("rng-draw", "draw")]
    fix = f"Give the extra draw its own generator{where}"
    return finding(evidence, "extra-rng-draw", lines, fix, clues=clues, fix_at=evidence.where)


def _possible_draws(evidence: Evidence) -> list[str]:
    """Returns lines about an evaluation of only one run, or a variable that the script reads, which may explain the draw."""
    alone = evidence.one_sided_evaluation
    lines = [alone] if alone else []
    return lines + evidence.variables_read


def _drawn_from_system(evidence: Evidence) -> list[Note]:
    """Returns the notes of entropy that the user's code read, if it can explain the values; a race or a hash may fit better."""
    if evidence.root.kind == "structure":
        return []
    if evidence.stage in (Stage.FORWARD, Stage.LOSS):
        return drawn_numbers(evidence) if evidence.takes_other_values else []
    if (evidence.root.kind == "permutation" or reordering_of(evidence)) and not uses_system_random(evidence):
        return []
    races = evidence.notes("unordered") or interleaving_of(evidence).found
    if races and not other_rows(evidence):
        return []  # another order explains it as well
    return entropy_reads(evidence)


def _looks_drawn(evidence: Evidence) -> bool:
    """Returns whether differing values look random, without a note. Samples that moved a little indicate a race, and outputs of
    the model indicate a kernel."""
    if evidence.stage in (Stage.FORWARD, Stage.LOSS) or evidence.root.kind == "structure":
        return False
    if evidence.notes("unordered") or interleaving_of(evidence).found:
        return False
    change = reordering_of(evidence)
    if integers_may_be_hashes(evidence) or (change is not None and change.nearby):
        return False
    return evidence.root.kind != "permutation" or evidence.stage in (Stage.INIT, Stage.ORDER)


def _random_root(evidence: Evidence) -> bool:
    """Returns whether runs diverge in a random state, or by more than rounding in initial values or order, and twins may differ."""
    if evidence.twins_agree:
        return False
    return evidence.stage is Stage.RNG or (evidence.stage in (Stage.INIT, Stage.ORDER) and evidence.size != "tiny")


def _noted_and_untested(evidence: Evidence) -> bool:
    """Returns whether a note reports an unseeded generator and no twins were tested. Twins that agree exclude one."""
    return (
        evidence.stage in STAGES
        and evidence.twins_agree is None
        and any(not _in_worker(n) for n in evidence.notes("unseeded-rng"))
    )


def _in_worker(note: Note) -> bool:
    return note.raw.get("role") == "worker" or note.raw.get("worker") is not None


@dataclass(frozen=True)
class ChangedSeed:
    """A seeding call with different values in the two runs. `call`: empty if the note does not name it."""

    call: str
    label: str
    values: tuple[Any, Any]
    file: str
    line: int | None

    @property
    def clue(self) -> Clue:
        return Clue(kind="seeding", call=self.call, file=self.file, line=self.line)

    @property
    def description(self) -> str:
        at = f" ({self.clue.where})" if self.clue.where else ""
        return f"{self.label} got {self.values[0]} in one run and {self.values[1]} in the other{at}."


def changed_seeds(evidence: Evidence) -> list[ChangedSeed]:
    """Returns the seeding calls whose value differs between the runs, from notes and from fingerprints of stage rng."""
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
    """Returns (call, place, number of earlier calls at that place) -> the note and the value."""
    seen: dict[tuple[str, str, int], tuple[Note, Any]] = {}
    for note in facts.note("seed"):
        name = str(note.raw.get("generator") or note.raw.get("call") or "")
        key = (name, note.where, sum(1 for k in seen if k[:2] == (name, note.where)))
        seen[key] = (note, note.raw.get("value"))
    return seen


def _root_seedings(evidence: Evidence) -> list[Clue]:
    """Returns the seeding calls among the sites of the root."""
    return [
        Clue(kind="seeding", call=call, **location_of(d.evidence))
        for d in evidence.root.sites
        if (call := _seeding_call(d.site))
    ]


def _seeding_call(site: str) -> str:
    """Returns `torch.manual_seed` for the site `seed/torch.manual_seed`; empty for any other site."""
    return site.removeprefix(SEEDINGS) if site.startswith(SEEDINGS) else ""
