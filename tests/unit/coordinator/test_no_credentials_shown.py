"""What a coordinator shows, logs and notes of runs: values of an earlier version too go out without credentials."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import Any

import pytest
from detctl_coordinator.domain.audit import Audit, AuditRequest
from detctl_coordinator.domain.machine import Machine, Recipe
from detctl_coordinator.domain.run import Arm, RunOutcome, RunRecord, RunSpec, RunState
from detctl_coordinator.errors.codes import RefusedCallError
from detctl_coordinator.planning.plan import plan_runs
from detctl_coordinator.rpc.show import show
from detctl_coordinator.scheduling.audit_log import entries_of
from detctl_proto.log_lines import LineFormatter

SECRET = "hunter2"
URL = f"postgres://u:{SECRET}@h/db"
SPEC = RunSpec("a1.000", "a1", "digits", Arm("gpu1"), 0, parameters={"db_password": SECRET, "db": URL, "lr": "0.1"})
OLD = RunRecord(
    spec=SPEC,
    state=RunState.SEALED,
    attempt=1,
    manifest={
        "variables": {"DATABASE_URL": URL, "MY_SETTING": SECRET, "OMP_NUM_THREADS": "2"},
        "recipe": {"command": ["python", "t.py", "--password", SECRET], "parameters": {"db": URL}},
    },
    outcome=RunOutcome("exit", 1, f"cannot reach {URL}", f"--- stderr ---\ncannot reach {URL}\n"),
    message=f"cannot reach {URL}",
)
AUDIT = Audit(
    "a1", AuditRequest("digits", ("gpu1",), twins=1, set=(("db_password", SECRET), ("db", URL))), runs={"a1.000": OLD}
)
MACHINE = Machine(
    "gpu1", recipes={"digits": Recipe("digits", parameters={"db": URL}, command=("t", "--token", SECRET))}
)


class Store:
    """A store that has OLD and AUDIT."""

    def run(self, run_id: str) -> RunRecord | None:
        return OLD if run_id == "a1.000" else None

    def audit(self, audit_id: str) -> Audit | None:
        return AUDIT if audit_id == "a1" else None

    def seals(self, run_id: str) -> dict[int, Any]:
        return {}


@pytest.mark.parametrize(("wanted", "kind"), [("a1.000", "run"), ("a1", "audit"), ("gpu1", "machine")])
def test_show(wanted: str, kind: str) -> None:
    found, text = show(Store(), wanted, {"gpu1": MACHINE}, ["gpu1"])  # type: ignore[arg-type]  # of a store it needs these
    assert found == kind
    assert SECRET not in text
    if kind == "run":
        document = json.loads(text)
        assert (
            document["manifest"]["variables"]["OMP_NUM_THREADS"] == "2"
            and document["spec"]["parameters"]["lr"] == "0.1"
        )


def test_entries_of_the_log() -> None:
    documents = [document for _, document in entries_of(AUDIT, 1.0)]
    assert len(documents) == 3
    assert SECRET not in json.dumps(documents)


def test_lines_of_the_coordinators_own_log() -> None:
    record = logging.LogRecord("x", logging.ERROR, "f.py", 1, "run=%s why=%s", ("a1.000", f"cannot reach {URL}"), None)
    assert SECRET not in LineFormatter().format(record)


@pytest.mark.parametrize(("name", "values"), [("db_password", ("x", "y")), ("db", (URL, URL + "2"))])
def test_a_credential_cannot_be_varied_since_it_would_name_runs(name: str, values: tuple[str, ...]) -> None:
    recipe = Recipe("digits", parameters={name: ""}, patterns={name: r"[^ ]{0,200}"})
    machines = {"gpu1": Machine("gpu1", recipes={"digits": recipe}, environments={"default": {}})}
    request = AuditRequest("digits", ("gpu1",), twins=1, vary=((name, values),))
    with pytest.raises(RefusedCallError, match="looks like a credential") as caught:
        plan_runs(request, machines, ["gpu1"], "a1")
    assert SECRET not in caught.value.text
    assert plan_runs(replace(request, vary=(), set=((name, values[0]),)), machines, ["gpu1"], "a1").specs
