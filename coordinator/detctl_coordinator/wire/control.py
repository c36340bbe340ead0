"""Converts messages of the control stream: Hello, heartbeats and run states in, assignments and stops out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from detctl_proto.limits import (
    LINE_CHARS_MAX,
    MANIFEST_BYTES_MAX,
    OUTPUT_LINE_CHARS_MAX,
    OUTPUT_TAIL_CHARS_MAX,
    PARALLEL_RUNS_MAX,
)
from detctl_proto.recordings.run_documents import RUN_ENDS
from detctl_proto.recordings.run_failures import FAILURE_KINDS, TAIL_LINES_MAX
from detctl_proto.recordings.run_timings import RunTimings
from detctl_proto.recordings.side_by_side import SIDE_BY_SIDE_REASONS, SideBySide, SideBySideReason
from detctl_proto.security.redaction import redact_output
from detctl_proto.syntax.clean_text import clean_text
from detctl_proto.syntax.names import BOOT_ID, PARAMETER_NAME
from detctl_proto.v1 import agents_pb2 as pb

from detctl_coordinator import limits
from detctl_coordinator.domain.lifecycle_events import (
    Assign,
    Instruction,
    RunAccepted,
    RunEnded,
    RunRefused,
    RunRunning,
)
from detctl_coordinator.domain.machine import Machine, OfferNote, Recipe, Working
from detctl_coordinator.domain.run import RunFailure, RunOutcome
from detctl_coordinator.errors.codes import Code, RefusedCallError
from detctl_coordinator.wire.checks import at_most, identifier, in_form, recorded_facts
from detctl_coordinator.wire.schemas import Manifest

RunMessage = RunAccepted | RunRunning | RunEnded | RunRefused


def machine_from_hello(hello: pb.Hello) -> Machine:
    """Returns the machine of a Hello. Raises RefusedCallError if a name, count or size is invalid."""
    name = identifier(hello.machine, "machine")
    if not BOOT_ID.fullmatch(hello.boot_id):
        raise RefusedCallError(Code.INVALID_ARGUMENT, f"machine {name}: its Hello has no valid boot id")
    at_most(len(hello.recipes), limits.RECIPES_MAX, f"recipes in the catalog of {name}")
    at_most(len(hello.environments), limits.RECIPES_MAX, f"environments in the catalog of {name}")
    at_most(len(hello.notes), limits.RECIPES_MAX, f"notes of {name}")
    environments: dict[str, Mapping[str, str]] = {}
    for offer in hello.environments:
        environments[identifier(offer.name, "environment")] = _texts(offer.emulate, f"environment {offer.name}")
    return Machine(
        name=name,
        boot_id=hello.boot_id,
        version=limits.clean(hello.version, 64),
        recipes={offer.name: _recipe(offer) for offer in hello.recipes},
        environments=environments,
        manifest=manifest_of(hello.manifest_json, f"the manifest of {name}"),
        parallel_runs=min(max(1, hello.parallel_runs), PARALLEL_RUNS_MAX),
        notes=tuple(
            OfferNote(identifier(note.recipe, "recipe"), note.unusable, limits.clean(note.reason))
            for note in hello.notes
        ),
    )


def manifest_of(text: str, what: str) -> dict[str, Any]:
    """Returns the facts of a manifest; {} for empty text. Raises RefusedCallError."""
    facts = recorded_facts(text, MANIFEST_BYTES_MAX, what)
    in_form(Manifest, facts, what)
    return facts


def working_from_heartbeat(heartbeat: pb.Heartbeat) -> tuple[Working, ...]:
    """Returns the runs that are active on the agent."""
    at_most(len(heartbeat.runs), limits.WORKING_MAX, "runs in a heartbeat")
    return tuple(
        Working(
            identifier(run.run_id, "run"), run.attempt, run.step, run.records, run.activity, run.steps_done, run.elapsed_s,
            limits.clean(redact_output(run.last_output), OUTPUT_LINE_CHARS_MAX), run.beside,
            _side_by_side(run.side_by_side) if run.HasField("side_by_side") else None,
        )
        for run in heartbeat.runs
    )  # fmt: skip


def run_event_from_state(state: pb.RunState) -> RunMessage:
    """Returns the event that a RunState reports."""
    run_id = identifier(state.run_id, "run")
    message = limits.clean(state.message)
    if state.phase == pb.RUN_PHASE_ACCEPTED:
        return RunAccepted(run_id, state.attempt)
    if state.phase == pb.RUN_PHASE_REFUSED:
        return RunRefused(run_id, state.attempt, message)
    manifest = manifest_of(state.manifest_json, f"the manifest of run {run_id}")
    if state.phase == pb.RUN_PHASE_RUNNING:
        return RunRunning(run_id, state.attempt, manifest)
    if state.phase == pb.RUN_PHASE_ENDED:
        return RunEnded(run_id, state.attempt, outcome_of(state), manifest)
    raise RefusedCallError(Code.INVALID_ARGUMENT, f"run {run_id}: unknown phase {state.phase}")


def outcome_of(state: pb.RunState) -> RunOutcome:
    """Returns how an attempt ended, with its texts cut to their limits. Raises RefusedCallError for an unknown end."""
    if state.end not in RUN_ENDS:
        raise RefusedCallError(
            Code.INVALID_ARGUMENT, f"run {state.run_id}: unknown end {limits.clean(state.end, 40)!r}"
        )
    return RunOutcome(
        end=state.end,
        exit_code=state.exit_code,
        message=limits.clean(state.message),
        output_tail=state.output_tail[-OUTPUT_TAIL_CHARS_MAX:],
        ranks=state.ranks,
        wall_s=state.wall_s,
        failure=failure_of(state.failure) if state.HasField("failure") else None,
        timings=RunTimings.of(state.timings) if state.HasField("timings") else None,
        beside=state.beside,
    )


def _side_by_side(found: pb.SideBySide) -> SideBySide:
    """Returns how many runs may train at a time. A word of a newer agent becomes `cores`."""
    reason: SideBySideReason = next((word for word in SIDE_BY_SIDE_REASONS if word == found.reason), "cores")
    cores_used = found.cores_used if math.isfinite(found.cores_used) else 0.0
    return SideBySide(found.runs, reason, cores_used, found.cores, found.memory_bytes)


def failure_of(found: pb.RunFailure) -> RunFailure:
    """Returns why a training failed. A word of a newer agent becomes `exit`."""
    return RunFailure(
        kind=next((kind for kind in FAILURE_KINDS if kind == found.kind), "exit"),
        exit_code=found.exit_code,
        signal=limits.clean(found.signal, 32),
        module=limits.clean(found.module, 200),
        file=limits.clean(found.file),
        original=limits.clean(found.original),
        interpreter=limits.clean(found.interpreter),
        tail=tuple(clean_text(line).rstrip()[:LINE_CHARS_MAX] for line in found.tail[:TAIL_LINES_MAX]),
    )


def instruction_to_proto(instruction: Instruction) -> pb.CoordinatorMessage:
    """Returns the message that instructs the agent."""
    if isinstance(instruction, Assign):
        spec = instruction.spec
        assignment = pb.Assignment(
            run_id=spec.run_id,
            attempt=instruction.attempt,
            audit_id=spec.audit_id,
            recipe=spec.recipe,
            environment=spec.arm.environment,
            parameters=spec.parameters,
            variables=spec.variables,
            interventions=spec.interventions,
            level=spec.level,
            step_from=spec.step_from,
            step_to=spec.step_to or 0,
            expected_source_digest=spec.expected_source_digest,
            twin=spec.twin,
            budget_share=spec.budget_share,
            alone=spec.purpose == "experiment",  # the step times of experiments are compared
            known_answers=not spec.purpose,  # an experiment has the same environment as a run that reported them
        )
        return pb.CoordinatorMessage(assignment=assignment)
    stop = pb.StopRun(
        run_id=instruction.run_id,
        attempt=instruction.attempt,
        after_step=instruction.after_step or 0,
        now=instruction.after_step is None,
        reason=instruction.reason,
    )
    return pb.CoordinatorMessage(stop_run=stop)


def _recipe(offer: pb.RecipeOffer) -> Recipe:
    name = identifier(offer.name, "recipe")
    at_most(len(offer.parameters), limits.PARAMETERS_MAX, f"parameters of recipe {name}")
    for parameter in offer.parameters:
        if not PARAMETER_NAME.fullmatch(parameter):
            raise RefusedCallError(
                Code.INVALID_ARGUMENT,
                f"recipe {name}: {limits.clean(parameter, 80)!r} is not a valid name of a parameter",
            )
    return Recipe(
        name=name,
        source_digest=limits.clean(offer.source_digest, 128),
        parameters=_texts(offer.parameters, f"recipe {name}"),
        paths=tuple(p for p in offer.paths if p in offer.parameters),
        patterns=_texts(offer.patterns, f"patterns of recipe {name}"),
        git_commit=limits.clean(offer.git_commit, 64),
        command=tuple(limits.clean(part) for part in offer.command[:256]),
        timeout_s=offer.timeout_s,
    )


def _texts(pairs: Mapping[str, str], what: str) -> dict[str, str]:
    """Returns a map of short texts as a dictionary. Raises RefusedCallError if it is too long."""
    at_most(len(pairs), limits.PARAMETERS_MAX, f"entries in {what}")
    for key, value in pairs.items():
        if len(key) > 128 or len(value) > LINE_CHARS_MAX:
            raise RefusedCallError(Code.INVALID_ARGUMENT, f"{what}: {limits.clean(key, 80)!r} or its value is too long")
    return dict(pairs)
