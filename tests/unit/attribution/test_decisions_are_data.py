"""No decision of attribution rests on a sentence: with every sentence replaced by a placeholder, verdicts decide the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from detctl_coordinator.domain.verdict import Verdict

from tests.property import test_experiments as settings_worlds
from tests.property import test_experiments_by_chance as chance_worlds
from tests.support.judged_runs import EVERYTHING, MODEL, across, within
from tests.support.without_words import decisions, without_words

SEEDED_BY_CLOCK = {"call": "torch.manual_seed", "file": "{cwd}/train.py", "line": 4}


def looks_like_clock() -> Verdict:
    def change(b, twin):  # type: ignore[no-untyped-def]  # the builder's type is enough
        b.note("unseeded-rng", "the global generator of numpy is used", generator="numpy", file="{cwd}/t.py", line=9)
        b.note("identity", "the seed of torch looks like the clock", looks_like="the clock", **SEEDED_BY_CLOCK)
        b.note("seed", "seeded", value=twin, **SEEDED_BY_CLOCK)
        return b.carry(*EVERYTHING, value=twin)

    return within(change)


def made_inside_package() -> Verdict:
    text = "numpy.random.RandomState without a seed takes one from the system, inside optuna"
    where = {"call": "numpy.random.RandomState", "package": "optuna", "file": "{cwd}/train.py", "line": 7}
    return within(lambda b, twin: b.note("unseeded-rng", text, **where).carry("batch", *MODEL, value=twin))


def made_by_user() -> Verdict:
    where = {"call": "numpy.random.default_rng", "file": "{cwd}/train.py", "line": 7}
    return within(lambda b, twin: b.note("unseeded-rng", "made", **where).carry("batch", *MODEL, value=twin))


def completion_order() -> Verdict:
    def change(b, twin):  # type: ignore[no-untyped-def]  # the builder's type is enough
        b.note("unordered", "finished first", call="queue.Queue", file="{cwd}/train.py", line=3)
        return b.carry("sample", "batch", *MODEL, value=twin)

    return within(change)


def threads_and_libraries() -> Verdict:
    def change(b):  # type: ignore[no-untyped-def]  # the builder's type is enough
        b.fact("torch", {"threads": 8}).fact("python", {"packages": {"numpy": "2.0"}})
        return b.carry("backward", "update", value=1)

    return across(change, lambda b: b.fact("torch", {"threads": 1}).fact("python", {"packages": {"numpy": "1.26"}}))


SCENES: dict[str, Callable[[], Verdict]] = {
    "a seed that looks like the clock": looks_like_clock,
    "a generator inside a package": made_inside_package,
    "a generator of the user's": made_by_user,
    "results as they finish": completion_order,
    "threads and libraries": threads_and_libraries,
    "two settings, confirmed": lambda: settings_worlds.explained(
        settings_worlds.World(acts=frozenset(("TZ", "OMP_NUM_THREADS")))
    )[0],
    "two that act together": lambda: settings_worlds.explained(
        settings_worlds.World(together=frozenset(("TZ", "LC_ALL"))), budget_runs=48
    )[0],
    "what cannot be set": lambda: settings_worlds.explained(settings_worlds.World(hidden=True))[0],
    **{
        f"twins that draw by {chance}": lambda chance=chance: chance_worlds.explained(  # type: ignore[misc]  # bound now
            chance_worlds.World(chance=chance)
        )[0]
        for chance in ("seed", "identity", "hash", "race", "fault", "empty")
    },
}


@pytest.mark.parametrize("scene", SCENES)
def test_sentences_decide_nothing(scene: str) -> None:
    expected = decisions(SCENES[scene]())
    with pytest.MonkeyPatch.context() as patch:
        without_words(patch)
        assert decisions(SCENES[scene]()) == expected
    assert expected["outcome"] == "different" and expected["causes"]


def test_what_a_cause_rests_on_is_in_the_verdict_as_data() -> None:
    cause = made_by_user().causes[0]
    (clue,) = cause.clues
    assert (clue.kind, clue.call, clue.where) == ("unseeded-rng", "numpy.random.default_rng", "{cwd}/train.py:7")
    assert (cause.fix_at, cause.change[0]) == ("{cwd}/train.py:7", "- numpy.random.default_rng()")
    caveat = threads_and_libraries().causes[0]
    assert "numpy" in caveat.caveats[0] and not any(caveat.caveats[0] == line for line in caveat.evidence)
