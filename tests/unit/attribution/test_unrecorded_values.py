"""Variables whose values are not recorded: seen to differ under one key, never claimed to differ under two, never shown."""

from __future__ import annotations

import json

from detctl_coordinator.attribution.evidence.settings.suspects import suspects_of
from detctl_coordinator.attribution.experiments.factors import factors_of
from detctl_coordinator.attribution.verdict.judge import Case, JudgeRequest
from detctl_proto.security.redaction import DIGESTS, RecordingKey, protected_manifest

from tests.support.judged_runs import MODEL, Make, across, first, judged
from tests.support.memory_runs import RunBuilder

KEY, OTHER = RecordingKey(b"k" * 32), RecordingKey(b"o" * 32)
SECRET = "postgres://u:hunter2@h/db"


def variable(name: str, value: str, *, read: bool = False, key: RecordingKey = KEY) -> Make:
    def change(b: RunBuilder) -> RunBuilder:
        if read:
            b.note("variable", f"the variable {name} is read", name=name, file="{cwd}/train.py", line=5)
        b.facts["variables"] = {"PYTHONHASHSEED": "0", name: value}
        b.facts.pop(DIGESTS, None)
        b.facts = protected_manifest(b.facts, key, [name] if read else [])
        return b

    return change


def test_a_credential_that_the_script_reads_and_that_differs_is_named_without_its_value() -> None:
    verdict = across(
        lambda b: variable("DATABASE_URL", SECRET.replace("hunter2", "hunter3"), read=True)(b).carry(*MODEL),
        both=variable("DATABASE_URL", SECRET, read=True),
    )
    assert first(verdict)[:2] == ("config-drift", "environment")
    assert any(
        "DATABASE_URL differs (value not recorded), read at {cwd}/train.py:5" in line
        for line in verdict.causes[0].evidence
    )
    assert set(verdict.environment["variables.DATABASE_URL"].values()) == {
        "(value 1, not recorded)",
        "(value 2, not recorded)",
    }
    assert "hunter" not in verdict.to_json() and "[redacted " not in verdict.to_json()


def test_one_that_nobody_reads_is_shown_and_no_suspect() -> None:
    verdict = across(lambda b: variable("MY_SETTING", "two")(b).carry(*MODEL), both=variable("MY_SETTING", "one"))
    assert first(verdict)[0] == "unknown"
    assert "variables.MY_SETTING" in verdict.environment


def test_a_token_is_never_a_cause() -> None:
    for name in ("HF_TOKEN", "TORCH_HUB_TOKEN", "DB_PASS"):
        verdict = across(
            lambda b, name=name: variable(name, "two-of-them", read=True)(b).carry(*MODEL),
            both=variable(name, "one-of-them", read=True),
        )
        assert first(verdict)[0] == "unknown", name
        assert not any(name in line for line in verdict.causes[0].evidence)


def test_under_different_keys_nothing_is_reported_to_differ() -> None:
    verdict = across(
        lambda b: variable("DATABASE_URL", SECRET, read=True, key=OTHER)(b).carry(*MODEL),
        both=variable("DATABASE_URL", SECRET, read=True),
    )
    assert first(verdict)[0] == "unknown"
    assert "variables.DATABASE_URL" not in verdict.environment
    (note,) = [note for note in verdict.notes if "cannot be compared" in note]
    assert note.endswith("different keys: DATABASE_URL")


def test_a_value_that_one_run_alone_read_is_compared_by_its_digest() -> None:
    def sides(left: Make, right: Make) -> dict[str, object]:
        runs = [change(RunBuilder(machine).train()).build() for machine, change in (("gpu1", left), ("gpu2", right))]
        return judged(*runs).environment

    equal = sides(variable("MODE", "fast", read=True), variable("MODE", "fast"))
    other = sides(variable("MODE", "fast", read=True), variable("MODE", "slow"))
    assert "variables.MODE" not in equal
    assert other["variables.MODE"] == {"gpu1/default/base": "fast", "gpu2/default/base": "(value 1, not recorded)"}


def test_what_is_not_recorded_cannot_be_set_by_an_experiment() -> None:
    sides = [
        variable("DATABASE_URL", f"postgres://u:p{n}@h/", read=True)(RunBuilder(twin=n).train()).build() for n in (0, 1)
    ]
    case = Case(JudgeRequest("a1", "digits", tuple(sides)))
    facts = [case.facts(run) for run in sides]
    suspects = suspects_of(facts[0].manifest, facts[1].manifest, sides[0].run.spec, sides[1].run.spec)
    assert factors_of(suspects, facts[0], facts[1], lists=False) == []


def test_recordings_of_an_earlier_version_are_read_and_shown_without_their_credentials() -> None:
    def old(value: str) -> Make:
        def change(b: RunBuilder) -> RunBuilder:
            b.fact("variables/DATABASE_URL", value).fact("variables/MODE", "fast")
            return b.fact("recipe/command", ["python", "t.py", "--password", value])

        return change

    runs = [
        old(f"postgres://u:hunter{n}@h/")(RunBuilder(machine).train()).build()
        for n, machine in enumerate(("gpu1", "gpu2"))
    ]
    verdict = judged(*runs)
    equal = [RunBuilder(machine).train().build() for machine in ("gpu1", "gpu2")]
    assert verdict.outcome == judged(*equal).outcome
    assert "variables.DATABASE_URL" in verdict.environment and "variables.MODE" not in verdict.environment
    assert "hunter" not in json.dumps(json.loads(verdict.to_json()))
