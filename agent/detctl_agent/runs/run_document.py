"""Fills run.json: at the start of a run from its order, at its end from its outcome."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict

from detctl_proto.recordings.run_labels import RunLabel, variation_text
from detctl_proto.security.redaction import redact_pairs

from detctl_agent.catalog.admission import Order
from detctl_agent.runs.outcome import Outcome
from detctl_agent.state.run_folder import RunJson


def run_json(machine: str, order: Order, command: Sequence[str] = ()) -> RunJson:
    """The run.json of an order that was just accepted, without credentials. command: the recipe's, once it is known."""
    parameters = redact_pairs(order.parameters, command=command)
    varied = {**parameters, **order.variables, **order.interventions}
    variation = variation_text(sorted(varied.items()))
    return RunJson(
        run_id=order.run_id,
        attempt=order.attempt,
        audit_id=order.audit_id,
        label=str(RunLabel(machine, order.environment, variation, "twin", order.twin)),
        machine=machine,
        environment=order.environment,
        variation=variation,
        twin=order.twin,
        recipe=order.recipe,
        parameters=parameters,
        variables=dict(order.variables),
        interventions=dict(order.interventions),
        level=order.level,
        step_from=order.step_from,
        step_to=order.step_to,
        budget_share=order.budget_share,
    )


def note_end(run: RunJson, outcome: Outcome) -> None:
    """Enters the outcome into the content of run.json."""
    run.state, run.ended_unix_s, run.wall_s = "ended", time.time(), outcome.wall_s
    run.end, run.exit_code, run.message = outcome.end, outcome.exit_code, outcome.message
    run.ranks, run.ranks_elsewhere = outcome.ranks, outcome.ranks_elsewhere
    run.records, run.last_step = outcome.records, outcome.last_step
    run.failure = None if outcome.failure is None else asdict(outcome.failure)
    run.spool_records, run.spool_bytes = outcome.spool_records, outcome.spool_bytes
    run.timings = asdict(outcome.timings)
