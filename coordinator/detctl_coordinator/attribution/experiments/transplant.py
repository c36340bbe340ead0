"""What lies behind weights or batches that differ: the second arm is given the first one's."""

from __future__ import annotations

from detctl_coordinator.attribution.evidence.evidence import DATA, NUMERIC
from detctl_coordinator.attribution.experiments.factors import Factor
from detctl_coordinator.attribution.experiments.releases import causes_between
from detctl_coordinator.attribution.experiments.rounds import Round, by_experiment
from detctl_coordinator.attribution.experiments.trials import Lab, Result, Trial
from detctl_coordinator.domain.fingerprint import Stage

TAKEN = {"init": "initial weights", "batch": "batches", "rng": "generator states"}


def transplant(lab: Lab, round_: Round, star: Result) -> None:
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
            one for one in causes_between(lab, round_.scope, star.specs[0], given.specs[0]) if one.stage in NUMERIC
        )
        round_.behind_words = by_experiment(row["words"])
    else:
        row |= {"result": "equal", "words": f"{words}: all that is computed is equal, so nothing but these parts them"}
