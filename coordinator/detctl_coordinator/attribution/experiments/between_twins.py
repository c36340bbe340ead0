"""A round between twins: all sources of randomness are made equal; masks then narrow down what remains."""

from __future__ import annotations

from collections.abc import Mapping

from detctl_coordinator.attribution.case import Case
from detctl_coordinator.attribution.configurations import ConfigurationRuns
from detctl_coordinator.attribution.evidence.settings.suspects import suspects_of
from detctl_coordinator.attribution.experiments.experiment_runner import ExperimentRunner, Trial
from detctl_coordinator.attribution.experiments.factors import Factor, masks, sources_of_randomness
from detctl_coordinator.attribution.experiments.releases import all_equal, find_fix, no_op, release, until_compared
from detctl_coordinator.attribution.experiments.rounds import Round, by_experiment
from detctl_coordinator.comparison.reader import RunReader
from detctl_coordinator.comparison.steps.window import finished_steps
from detctl_coordinator.domain.fingerprint import Phase, Stage

TWINS = 3  # runs of a trial that may be random; two would agree at random too often
# Runs of the last trial, which confirms a cause. With a 50:50 choice, six runs agree at random in 3 % of cases.
PROOF_TWINS = 6

STILL_RANDOM = "With seeds, identity and hash seed made equal, the twins still diverge, so no cause is confirmed."


def between_twins(runner: ExperimentRunner, case: Case, runs: ConfigurationRuns) -> Round:
    """Returns what experiments on diverging twins showed. Factors that act are held equal in the later rounds between
    configurations."""
    spec = case.representative(runs).run.spec
    bases = (until_compared(spec, case),) * TWINS
    round_ = Round("twins")
    factors = sources_of_randomness(spec)
    equal = {factor: factor.equal for factor in factors}
    baseline = all_equal(runner, round_, bases, equal)
    if round_.equalised is None:
        return round_
    active = [factor for factor in factors if factor not in baseline.no_ops]
    round_.findings += [no_op(factor) for factor in factors if factor in baseline.no_ops]
    if not round_.equalised:
        return _masked(runner, case, round_, runs, equal)
    # A factor whose cause no signature named cannot be confirmed, so it is released only if the others do not suffice.
    named = {cause.cause for cause in case.causes}
    likely = [factor for factor in active if named & {*factor.confirms}]
    release(runner, round_, baseline, likely)
    find_fix(runner, case, round_, bases[:1] * PROOF_TWINS, {})
    if round_.fix is None or not round_.fix.suffices:
        acting = round_.acting
        release(runner, round_, baseline, [factor for factor in active if factor not in likely])
        if round_.acting != acting:
            find_fix(runner, case, round_, bases[:1] * PROOF_TWINS, {})
    return round_


def _masked(
    runner: ExperimentRunner, case: Case, round_: Round, runs: ConfigurationRuns, equal: Mapping[Factor, str]
) -> Round:
    """Finds the class of randomness that remains in the all-equal baseline: each mask is removed while the others stay. If the
    twins diverge even with all masks, an equal machine runs the same trial."""
    round_.note = STILL_RANDOM
    spec = case.representative(runs).run.spec
    hiding = masks(spec)
    everything = {**equal, **{factor: factor.equal for factor in hiding}}
    description = "All-equal baseline, with workers, threads and nondeterministic kernels fixed as well"
    baseline = runner.run(Trial(description, (until_compared(spec, case),) * TWINS, everything))[0]
    round_.rows.append(runner.row(baseline))
    if runner.agree(baseline):
        release(runner, round_, baseline, [factor for factor in hiding if factor not in baseline.no_ops])
        if any(one.factor.name == "deterministic" and one.effect for one in round_.findings):
            round_.uninitialised_memory = _reads_uninitialised(
                case.representative(runs), runner.reader(baseline.specs[0])
            )
    elif runner.agree(baseline) is False and (peer := _peer(case, runs)) is not None:
        other = until_compared(case.representative(peer).run.spec, case)
        on_peer = runner.run(Trial(f"{description}, on {other.arm.machine}", (other,) * TWINS, everything))[0]
        round_.rows.append(runner.row(on_peer))
        if runner.agree(on_peer):
            round_.hardware_fault = by_experiment(
                "With seeds, identity, threads and workers fixed and deterministic algorithms on, "
                f"{TWINS} new runs on {spec.arm.machine} still diverge, while {TWINS} runs on {other.arm.machine} are identical. "
                "No recorded fact of the two environments differs."
            )
    return round_


def _reads_uninitialised(native: RunReader, filled: RunReader) -> str:
    """Returns a line of evidence if the loss is NaN only under deterministic algorithms, else nothing. They fill new memory
    with NaN, so the training reads memory before it writes it."""
    step, before = _first_nan(filled), _first_nan(native)
    if step is None or (before is not None and before <= step):
        return ""
    return by_experiment(
        f"With deterministic=on, which fills new memory with NaN, the loss is NaN from step {step} on. "
        "Without it, the loss is a number there."
    )


def _first_nan(reader: RunReader) -> int | None:
    keys = [key for key in reader.streams() if key.stage is Stage.LOSS and key.phase is Phase.TRAIN]
    for step in range(finished_steps(reader)):
        sketches = [record.sketch for key in keys for record in reader.records(key, step)]
        if any(sketch is not None and sketch[0] > 0 for sketch in sketches):  # the first number of a sketch counts NaN
            return step
    return None


def _peer(case: Case, runs: ConfigurationRuns) -> ConfigurationRuns | None:
    """Returns a reproducible configuration of another machine whose known facts are the same; None: there is none."""
    mine = case.representative(runs)
    for other in case.configurations:
        theirs = case.representative(other)
        if other.machine == runs.machine or not case.reproducible(other):
            continue
        specs = mine.run.spec, theirs.run.spec
        if not suspects_of(case.facts(mine).manifest, case.facts(theirs).manifest, *specs):
            return other
    return None
