"""Transplants initial weights, batches or generator states, to find further causes behind a difference in them."""

from __future__ import annotations

from detctl_coordinator.attribution.evidence.pair_evidence import DATA, NUMERIC
from detctl_coordinator.attribution.experiments.experiment_runner import ExperimentRunner, Result, Trial
from detctl_coordinator.attribution.experiments.factors import Factor
from detctl_coordinator.attribution.experiments.releases import causes_between
from detctl_coordinator.attribution.experiments.rounds import Round, by_experiment
from detctl_coordinator.domain.fingerprint import Stage

CONTENTS = {"init": "initial weights", "batch": "batches", "rng": "generator states"}


def transplant(runner: ExperimentRunner, round_: Round, baseline: Result) -> None:
    """If weights, batches or generator states differ in the all-equal baseline, runs the second configuration with the first
    one's. Causes of a difference that remains are added to the round."""
    pair = runner.pair(*baseline.specs)
    what = "+".join(
        word
        for word, stages in (("init", (Stage.INIT,)), ("batch", DATA), ("rng", (Stage.RNG,)))
        if any(node.stage in stages for node in pair.differences)
    )
    if not what:
        return
    contents = " and ".join(CONTENTS[word] for word in what.split("+"))
    keep, take = (Factor("probe", name, name, swaps=False) for name in ("keep", "transplant"))
    first, second = baseline.trial.bases
    settings = baseline.trial.settings
    kept = runner.run(Trial(f"{first.arm.label} saves its {contents}", (first,), {**settings, keep: what}, (keep,)))[0]
    round_.rows.append(runner.row(kept))
    if kept.problem or kept.no_ops:
        return
    description = f"{second.arm.label} gets the {contents} of {first.arm.label}"
    values = {**settings, take: f"{what}:{kept.specs[0].run_id}"}
    given = runner.run(Trial(description, (second,), values, (take,)))[0]
    row = runner.row(given)
    round_.rows.append(row)
    if given.problem or given.no_ops:
        why = given.problem or runner.read_back(take, given)
        row |= {"result": "no result", "words": f"{description}: not everything was transplanted ({why})"}
        return
    after = runner.pair(baseline.specs[0], given.specs[0])
    # Only computed stages count: batches are recorded before they are replaced.
    diverged = sorted(node for node in after.differences if node.stage in NUMERIC)
    if after.incomparable or (diverged and diverged[0].stage is Stage.INIT):
        row |= {"result": "no result", "words": f"{description}: the values did not arrive unchanged"}
    elif diverged:
        step, stage = min((after.differences[node].step, node.stage) for node in diverged)
        text = f"{description}: the runs still diverge, from step {step} · {stage.word} on, so there is another cause"
        row |= {"result": "different", "words": text}
        round_.causes_after_transplant = tuple(
            one
            for one in causes_between(runner, round_.scope, baseline.specs[0], given.specs[0])
            if one.stage in NUMERIC
        )
        round_.transplant_evidence = by_experiment(text)
    else:
        row |= {"result": "equal", "words": f"{description}: all computed values are equal, so there is no other cause"}
