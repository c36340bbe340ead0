"""Causes confirmed by experiment: runs that part are repeated with settings made equal. Pure, given a Lab.

Rounds peel causes off. First, where twins of one arm part, what they draw by chance is made equal (seeds, identity, hash seed); what that
removes is kept equal in the rounds after it, between arms. In each round:

Everything that can be set is made equal, to the first arm's values (E*). Where the runs then agree, each factor is released by itself.
Between two arms both get the second arm's value: if both then part from E* and agree with each other, the value alone decides on either
machine: confirmed by *swap*; if nothing changes, the factor is excluded. An order of listings, and what twins draw by chance, is released
by leaving it as it is: if the runs part, *equalised* confirms it, since all else was equal. If no factor acts by itself though all of them
do, the smallest set that acts together is sought by delta debugging. Where chance outlives E*, masks (one thread, no workers,
deterministic algorithms) show its class, and confirm nothing. Last, the runs with nothing but the confirmed factors equal: the
cheapest fix, and what it costs. Nothing counts that was not read back. Where E* only says aloud what the first arm has anyway, it is
the sham: it must change nothing there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from detctl_coordinator.attribution.arms import RunArm
from detctl_coordinator.attribution.attribute import causes_of
from detctl_coordinator.attribution.delta_debugging import smallest
from detctl_coordinator.attribution.evidence import DATA, NUMERIC, CauseFinding
from detctl_coordinator.attribution.factors import Factor, chances, factors_of, masks
from detctl_coordinator.attribution.facts import value_at
from detctl_coordinator.attribution.judge import Case
from detctl_coordinator.attribution.known_answers import answers_compared
from detctl_coordinator.attribution.suspects import suspects_of
from detctl_coordinator.attribution.trials import Lab, Result, Trial
from detctl_coordinator.comparison.pair import PairComparison
from detctl_coordinator.comparison.pairing import Scope
from detctl_coordinator.domain.fingerprint import Stage
from detctl_coordinator.domain.run import RunSpec

FACTORS_MAX = 13  # tried by themselves; two runs each, two for E*, two for the fix: thirty experiments
GROUP_MIN = 3  # so many unlikely factors are tried together first
TWINS = 3  # runs of a trial where chance is at work: two agree by chance too often
PROOF_TWINS = 6  # of the last one, on which a confirmation rests: six agree by a 50:50 chance in 3 % of cases

TAKEN = {"init": "initial weights", "batch": "batches", "rng": "generator states"}

STILL_DIFFERENT = "with all that can be set made equal the arms still part, so no cause is confirmed"
STILL_BY_CHANCE = "with seeds, identity and hash seed made equal the twins still part, so no cause is confirmed"
NOT_SHOWN = "the runs with everything equal show nothing, so no cause is confirmed"
DISTURBED = "setting its own values changed the first arm, so no cause is confirmed"
TOGETHER = "no setting parts the arms by itself, though they agree with all of them equal: some act together"


@dataclass(frozen=True)
class Finding:
    """What a release showed. effect: True it parts the runs, False it is excluded, None: shows nothing. `with_`: factors without
    which it does not act."""

    factor: Factor
    effect: bool | None
    words: str
    causes: tuple[CauseFinding, ...] = ()
    with_: tuple[Factor, ...] = ()
    acted_on: str = ""  # what the factor read back while it held

    @property
    def confirmed_by(self) -> Literal["swap", "equalised"]:
        return "swap" if self.factor.swaps else "equalised"


@dataclass(frozen=True)
class Fix:
    """What restores equality with nothing else set. cost: share of step time, against the arms as they are (0.14: 14 % more), None: not
    measured; over how many `steps`; scatter: share by which the slowest run of an arm as it is exceeds its quickest."""

    values: Mapping[Factor, str]
    suffices: bool
    cost: float | None
    scatter: float
    steps: int


@dataclass
class Round:
    """One peel. equalised: whether the runs agree under E*, None: not shown. `note`: why nothing more is shown."""

    scope: Scope
    equalised: bool | None = None
    findings: list[Finding] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    note: str = ""
    fault: str = ""  # one machine at odds with itself and not with its peer, with all held equal
    fix: Fix | None = None
    behind: tuple[CauseFinding, ...] = ()  # what parts the arms with the same initial weights
    behind_words: str = ""

    @property
    def answered(self) -> bool:
        """Each factor had its answer, so a cause that no factor stands for is gone where the runs agree."""
        return bool(self.equalised) and not self.note and all(one.effect is not None for one in self.findings)


def explore(case: Case, lab: Lab) -> list[Round]:
    """The rounds. Raises trials.Wanted where runs are missing."""
    rounds: list[Round] = []
    held: dict[Factor, str] = {}
    if (arm := next((arm for arm in case.arms if case.repeats(arm) is False), None)) is not None:
        round_ = _by_chance(lab, case, arm)
        rounds.append(round_)
        if not round_.equalised:
            return rounds  # between arms there would be no telling chance from cause
        held = held_in(rounds)
    for scope, pair in _pairs(case, chance_is_held=bool(held)):
        if (found := _between(lab, case, scope, pair, held)) is not None:
            rounds.append(found)
    return rounds


def held_in(rounds: Sequence[Round]) -> dict[Factor, str]:
    """What makes twins equal, as far as a round of twins showed it."""
    return {
        one.factor: one.factor.equal
        for round_ in rounds
        if round_.scope == "twins" and round_.equalised
        for one in round_.findings
        if one.effect
    }


def _pairs(case: Case, *, chance_is_held: bool) -> list[tuple[Scope, PairComparison]]:
    """Pairs of arms to explain: the first arm against one of each group that is at odds with it."""
    found: list[tuple[Scope, PairComparison]] = []
    first: RunArm | None = None
    seen: list[RunArm] = []
    for left, right, scope, pair in case.arm_pairs:
        if not pair.different or scope == "runs" or (first is not None and left is not first):
            continue
        if not chance_is_held and not (case.repeats(left) and case.repeats(right)):
            continue
        if not chance_is_held and any(not case.between(right, other).different for other in seen):
            continue  # its group is explained already
        first = left
        seen.append(right)
        found.append((scope, pair))
    return found


# -- chance ----------------------------------------------------------------------------------------------------------


def _by_chance(lab: Lab, case: Case, arm: RunArm) -> Round:
    spec = case.representative(arm).run.spec
    bases = (_ended(spec, case),) * TWINS
    round_ = Round("twins")
    factors = chances(spec)
    equal = {factor: factor.equal for factor in factors}
    star = _star(lab, round_, bases, equal)
    if round_.equalised is None:
        return round_
    live = [factor for factor in factors if factor not in star.inert]
    round_.findings += [_inert(factor) for factor in factors if factor in star.inert]
    if not round_.equalised:
        return _masked(lab, case, round_, arm, equal)
    # What no signature has named could not be confirmed: it is released only where the others do not suffice.
    named = {cause.cause for cause in case.causes}
    likely = [factor for factor in live if named & {*factor.words}]
    _release(lab, round_, star, likely)
    _fix(lab, case, round_, bases[:1] * PROOF_TWINS, {})
    if round_.fix is None or not round_.fix.suffices:
        acting = _acting(round_)
        _release(lab, round_, star, [factor for factor in live if factor not in likely])
        if _acting(round_) != acting:
            _fix(lab, case, round_, bases[:1] * PROOF_TWINS, {})
    return round_


def _masked(lab: Lab, case: Case, round_: Round, arm: RunArm, equal: Mapping[Factor, str]) -> Round:
    """Which class of chance outlived E*: each mask is taken off while the others are on. Where it outlives them too, a peer is asked."""
    round_.note = STILL_BY_CHANCE
    spec = case.representative(arm).run.spec
    hiding = masks(spec)
    everything = {**equal, **{factor: factor.equal for factor in hiding}}
    words = "workers, threads and racing kernels held too"
    star = lab.run(Trial(words, (_ended(spec, case),) * TWINS, everything))[0]
    round_.rows.append(lab.row(star))
    if lab.agree(star):
        _release(lab, round_, star, [factor for factor in hiding if factor not in star.inert])
    elif lab.agree(star) is False and (peer := _peer(case, arm)) is not None:
        other = _ended(case.representative(peer).run.spec, case)
        on_peer = lab.run(Trial(f"{words}, on {other.arm.machine}", (other,) * TWINS, everything))[0]
        round_.rows.append(lab.row(on_peer))
        if lab.agree(on_peer):
            round_.fault = (
                f"experiment: with seeds, identity, threads, workers and deterministic algorithms held equal {spec.arm.machine} still "
                f"disagrees with itself in {TWINS} fresh runs, {other.arm.machine} repeats itself in {TWINS}, and no fact of their "
                "environments differs"
            )
    return round_


def _peer(case: Case, arm: RunArm) -> RunArm | None:
    """An arm of another machine that is the same in all that is known, and repeats itself."""
    mine = case.representative(arm)
    for other in case.arms:
        theirs = case.representative(other)
        if other.arm.machine == arm.arm.machine or not case.repeats(other):
            continue
        specs = mine.run.spec, theirs.run.spec
        if not suspects_of(case.facts(mine).manifest, case.facts(theirs).manifest, *specs):
            return other
    return None


# -- arms ------------------------------------------------------------------------------------------------------------


def _between(lab: Lab, case: Case, scope: Scope, pair: PairComparison, held: Mapping[Factor, str]) -> Round | None:
    """None: they differ in nothing that can be set, and nothing may be transplanted."""
    facts = case.facts(pair.left), case.facts(pair.right)
    natives = pair.left.run.spec, pair.right.run.spec
    bases = _ended(natives[0], case), _ended(natives[1], case)
    suspects = suspects_of(facts[0].manifest, facts[1].manifest, *natives)
    lists = any(node.stage is Stage.LISTING for node in pair.differences)
    identity = any(cause.cause == "identity-seed" for cause in case.causes) and not any(
        factor.name == "identity" for factor in held
    )
    factors = factors_of(suspects, *facts, lists=lists, identity=identity)
    alone = [factor for factor in factors if factor.likely][:FACTORS_MAX]
    factors = [*alone, *(factor for factor in factors if not factor.likely)]
    transplants = all(value_at(one.manifest, "recipe", "allow_transplant") for one in facts)
    if not factors and not held and not transplants:
        return None
    round_ = Round(scope)
    if held:
        only = lab.run(Trial(f"nothing equal but {_shown(held)}", bases, held))[0]
        round_.rows.append(lab.row(only))
        round_.equalised = lab.agree(only)
        if round_.equalised or not (factors or transplants):
            return round_  # chance was all that parted them, or nothing else can be tried
    equal = {**held, **{factor: factor.equal for factor in factors}}
    star = _star(lab, round_, bases, equal)
    if round_.equalised is None:
        return round_
    if not round_.equalised:
        set_ = {factor.name for factor in factors}
        left = [one.name for one in suspects if one.name.split()[-1] not in set_]
        round_.note = STILL_DIFFERENT + (f" (not set here: {', '.join(left[:6])})" if left else "")
        answers = answers_compared(facts[0].manifest, facts[1].manifest)
        round_.note += f"; {answers}" if answers else ""
        if transplants:
            _transplant(lab, round_, star)
        return round_
    if not held and all(factor.swaps for factor in factors) and not lab.equal(natives[0], star.specs[0]):
        round_.note = DISTURBED
        return round_
    live = [factor for factor in factors if factor not in star.inert]
    round_.findings += [_inert(factor) for factor in factors if factor in star.inert]
    _release(lab, round_, star, [factor for factor in live if factor.likely])
    _release_group(lab, round_, star, [factor for factor in live if not factor.likely])
    if all(one.effect is False for one in round_.findings):
        _together(lab, round_, star, [factor for factor in live if factor.swaps])
    _fix(lab, case, round_, bases, held)
    return round_


def _transplant(lab: Lab, round_: Round, star: Result) -> None:
    """Where arms part under E* in weights or batches, the second one takes the first one's: what still parts them lies behind."""
    pair = lab.pair(*star.specs)
    what = "+".join(
        word
        for word, stages in (("init", (Stage.INIT,)), ("batch", DATA), ("rng", (Stage.RNG,)))
        if any(node.stage in stages for node in pair.differences)
    )
    if not what:
        return
    told = " and ".join(TAKEN[word] for word in what.split("+"))
    keep, take = (Factor("probe", name, name, swaps=False) for name in ("keep", "transplant"))
    first, second = star.trial.bases
    settings = star.trial.settings
    kept = lab.run(Trial(f"{first.arm.label} keeps its {told}", (first,), {**settings, keep: what}, (keep,)))[0]
    round_.rows.append(lab.row(kept))
    if kept.problem or kept.inert:
        return
    words = f"{second.arm.label} takes the {told} of {first.arm.label}"
    values = {**settings, take: f"{what}:{kept.specs[0].run_id}"}
    given = lab.run(Trial(words, (second,), values, (take,)))[0]
    row = lab.row(given)
    round_.rows.append(row)
    if given.problem or given.inert:
        why = given.problem or lab.read_back(take, given)
        row |= {"result": "no result", "words": f"{words}: not all of it was taken ({why})"}
        return
    after = lab.pair(star.specs[0], given.specs[0])
    # What the loader gave is recorded before it is exchanged.
    parted = sorted(node for node in after.differences if node.stage in NUMERIC)
    if after.incomparable or (parted and parted[0].stage is Stage.INIT):
        row |= {"result": "no result", "words": f"{words}: they were not taken over as they are"}
    elif parted:
        step, stage = min((after.differences[node].step, node.stage) for node in parted)
        row |= {
            "result": "different",
            "words": f"{words}: it still parts, from step {step} · {stage.word} on: not by these alone",
        }
        round_.behind = tuple(
            one for one in _causes(lab, round_.scope, star.specs[0], given.specs[0]) if one.stage in NUMERIC
        )
        round_.behind_words = f"experiment: {row['words']}"
    else:
        row |= {"result": "equal", "words": f"{words}: all that is computed is equal, so nothing but these parts them"}


def _together(lab: Lab, round_: Round, star: Result, factors: Sequence[Factor]) -> None:
    """The smallest set of factors that parts the runs where none does by itself."""
    tried: dict[frozenset[Factor], Result] = {}

    def acts(some: Sequence[Factor]) -> bool | None:
        values = {**star.trial.settings, **{factor: factor.released for factor in some}}
        told = ", ".join(factor.value_words(factor.released) for factor in some)
        if (result := tried.get(frozenset(some))) is None:
            result = lab.run(Trial(f"all else equal, {told} on both", star.trial.bases, values, tuple(some)))[0]
            tried[frozenset(some)] = result
            if len(some) > 1:  # one by itself was tried before
                round_.rows.append(lab.row(result, star))
        return None if not lab.agree(result) else not lab.unmoved(star, result)

    found = smallest(factors, acts) if len(factors) > 1 else None
    if not found:
        round_.note = TOGETHER
        return
    causes = _causes(lab, round_.scope, star.specs[0], tried[frozenset(found)].specs[0])
    shown = " and ".join(factor.value_words(factor.released) for factor in found)
    words = f"experiment: all else equal, both arms agree without and with {shown}, and part from one to the other; neither acts alone"
    others = [one for one in round_.findings if one.factor not in found]
    round_.findings[:] = [
        *others,
        *(Finding(f, True, words, causes, tuple(o for o in found if o is not f)) for f in found),
    ]


# -- trials ----------------------------------------------------------------------------------------------------------


def _star(lab: Lab, round_: Round, bases: tuple[RunSpec, ...], equal: Mapping[Factor, str]) -> Result:
    star = lab.run(Trial("all that can be set is equal", bases, equal))[0]
    round_.rows.append(lab.row(star))
    round_.equalised = lab.agree(star)
    if round_.equalised is None:
        round_.note = f"{NOT_SHOWN} ({star.problem})"
    return star


def _release(lab: Lab, round_: Round, star: Result, factors: Sequence[Factor]) -> None:
    """Each factor by itself, all in one batch."""
    trials = []
    for factor in factors:
        words = f"{factor.value_words(factor.released)} on both" if factor.swaps else f"{factor.shown} left as it is"
        values = {**star.trial.settings, factor: factor.released}
        trials.append(Trial(f"all else equal, {words}", star.trial.bases, values, (factor,)))
    for factor, result in zip(factors, lab.run(*trials), strict=True):
        round_.rows.append(lab.row(result, star if factor.swaps else None))
        if factor.swaps:
            round_.findings.append(_swapped(lab, round_.scope, factor, result, star))
        else:
            round_.findings.append(_left_alone(lab, round_.scope, factor, result, star))


def _release_group(lab: Lab, round_: Round, star: Result, factors: Sequence[Factor]) -> None:
    """Unlikely factors, all at once: where that changes nothing they are excluded together, else each is tried by itself."""
    if len(factors) >= GROUP_MIN:
        values = {**star.trial.settings, **{factor: factor.released for factor in factors}}
        words = f"all else equal, {len(factors)} other settings at the second arm's values on both"
        result = lab.run(Trial(words, star.trial.bases, values, tuple(factors)))[0]
        round_.rows.append(lab.row(result, star))
        if lab.agree(result) and lab.unmoved(star, result):
            shown = ", ".join(factor.shown for factor in factors)
            words = f"{shown} are excluded: released all at once they give the same on both arms"
            round_.findings += [Finding(factor, False, words) for factor in factors]
            return
    _release(lab, round_, star, factors)


def _left_alone(lab: Lab, scope: Scope, factor: Factor, result: Result, star: Result) -> Finding:
    if result.problem:
        return Finding(factor, None, f"{factor.shown}: {result.problem}")
    if lab.agree(result):
        return Finding(factor, False, f"{factor.shown} is excluded: left as it is, the runs agree")
    equal = factor.value_words(factor.equal)
    words = f"experiment: with {equal} and all else equal the runs agree; with {factor.shown} left as it is they part"
    if factor.masks:
        words += f"; it masks {factor.masks}, and shows no more than that class"
    acted_on = lab.read_back(factor, star)
    if acted_on:
        words += f" ({equal} acted: {acted_on})"
    return Finding(factor, True, words, _causes(lab, scope, *lab.parted(result)), acted_on=acted_on)


def _swapped(lab: Lab, scope: Scope, factor: Factor, result: Result, star: Result) -> Finding:
    if result.problem:
        return Finding(factor, None, f"{factor.shown}: {result.problem}")
    equal, released = factor.value_words(factor.equal), factor.value_words(factor.released)
    if not lab.agree(result):
        return Finding(factor, None, f"{factor.shown}: with {released} on both they part: shows nothing")
    if lab.unmoved(star, result):
        words = f"{factor.shown} is excluded: {equal} and {released} give the same on both arms"
        if factor.family in ("isa", "threads", "precision"):
            words += "; set as asked, it changed nothing that was seen: a no-op here"
        return Finding(factor, False, words)
    words = (
        f"experiment: all else equal, both arms agree with {equal}, agree with {released}, "
        "and part from one to the other"
    )
    return Finding(factor, True, words, _causes(lab, scope, star.specs[0], result.specs[0]))


def _inert(factor: Factor) -> Finding:
    return Finding(factor, False, f"{factor.value_words(factor.equal)} was a no-op: there was nothing for it to act on")


def _causes(lab: Lab, scope: Scope, left: RunSpec, right: RunSpec) -> tuple[CauseFinding, ...]:
    pair = lab.pair(left, right)
    facts = [lab.case.facts(reader) for reader in (pair.left, pair.right)]
    return tuple(causes_of(lab.case.compared_as(pair, scope, facts)))


def _fix(lab: Lab, case: Case, round_: Round, bases: tuple[RunSpec, ...], held: Mapping[Factor, str]) -> None:
    """The runs with nothing equal but what acts, and what that costs against the arms as they are."""
    acting = _acting(round_)
    if not acting:
        return
    values = {**held, **acting}
    result = lab.run(Trial(f"nothing equal but {_shown(values)}", bases, values))[0]
    round_.rows.append(lab.row(result))
    if result.problem:
        return
    natives = [reader for arm in case.arms for reader in arm.readers if arm.arm in {spec.arm for spec in bases}]
    cost, scatter, steps = lab.cost(result.specs, natives)
    round_.fix = Fix(values, bool(lab.agree(result)), cost, scatter, steps)


def _acting(round_: Round) -> dict[Factor, str]:
    return {one.factor: one.factor.equal for one in round_.findings if one.effect}


def _shown(values: Mapping[Factor, str]) -> str:
    return ", ".join(factor.value_words(value) for factor, value in values.items())


def _ended(spec: RunSpec, case: Case) -> RunSpec:
    """Runs are short: up to the last step that was compared."""
    return replace(spec, step_to=case.limit if case.limit is not None else spec.step_to)
