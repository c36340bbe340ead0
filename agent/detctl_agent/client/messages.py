"""Converts values of the agent to messages of the contract, and back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from detctl_proto.levels import DEFAULT_LEVEL
from detctl_proto.limits import LINE_CHARS_MAX, MANIFEST_BYTES_MAX
from detctl_proto.outside_json import writable
from detctl_proto.recordings.side_by_side import SideBySide
from detctl_proto.security.redaction import redact_command, redact_pairs, redact_text
from detctl_proto.v1 import agents_pb2, records_pb2

from detctl_agent.catalog.admission import Order
from detctl_agent.catalog.catalog import Catalog
from detctl_agent.catalog.offers import OfferNote
from detctl_agent.jobs.job import JobProgress
from detctl_agent.source.source import Source
from detctl_agent.state.run_folder import RunJson

# The sections of a manifest: the rest is for their names and for braces.
SECTIONS_CHARACTERS_MAX = MANIFEST_BYTES_MAX - 48 * 1024


def order_from(message: agents_pb2.Assignment) -> Order:
    """The order in an assignment."""
    return Order(
        run_id=message.run_id,
        attempt=message.attempt,
        audit_id=message.audit_id,
        recipe=message.recipe,
        environment=message.environment or "default",
        parameters=dict(message.parameters),
        variables=dict(message.variables),
        interventions=dict(message.interventions),
        level=message.level or DEFAULT_LEVEL,
        step_from=message.step_from,
        step_to=message.step_to or None,
        expected_source_digest=message.expected_source_digest,
        twin=message.twin,
        budget_share=message.budget_share,
        known_answers=message.known_answers,
        alone=message.alone,
    )


def hello(
    machine: str,
    version: str,
    boot_id: str,
    parallel_runs: int,
    catalog: Catalog,
    sources: Mapping[str, Source],
    manifest: Mapping[str, Any],
    notes: Iterable[OfferNote] = (),
) -> agents_pb2.AgentMessage:
    """The agent's introduction and its offers, without recipes whose folder cannot be read (those are not in `sources`).

    notes: why recipes are missing, or get copies of their folder."""
    return agents_pb2.AgentMessage(
        hello=agents_pb2.Hello(
            machine=machine,
            version=version,
            recipes=[
                agents_pb2.RecipeOffer(
                    name=name,
                    source_digest=sources[name].digest,
                    git_commit=sources[name].git_commit,
                    parameters={
                        key: writable(value)
                        for key, value in redact_pairs(recipe.parameters, command=recipe.command).items()
                    },
                    paths=recipe.paths,
                    patterns={parameter: recipe.pattern(parameter) for parameter in recipe.parameters},
                    command=redact_command(recipe.command),
                    timeout_s=max(1, round(recipe.timeout_s)),
                )
                for name, recipe in catalog.recipes.items()
                if name in sources
            ],
            environments=[
                agents_pb2.EnvironmentOffer(name=name, emulate=dict(environment.emulate))
                for name, environment in catalog.environments.items()
            ],
            manifest_json=_manifest_text(manifest),
            parallel_runs=parallel_runs,
            boot_id=boot_id,
            notes=[
                records_pb2.OfferNote(
                    recipe=note.recipe,
                    unusable=note.unusable,
                    reason=writable(redact_text(note.reason))[:LINE_CHARS_MAX],
                )
                for note in notes
            ],
        )
    )


def heartbeat(runs: Iterable[JobProgress]) -> agents_pb2.AgentMessage:
    """The progress of all active runs."""
    return agents_pb2.AgentMessage(
        heartbeat=agents_pb2.Heartbeat(
            runs=[
                agents_pb2.RunProgress(
                    run_id=run.run_id,
                    attempt=run.attempt,
                    step=run.step or 0,
                    records=run.records,
                    activity=f"RUN_ACTIVITY_{run.activity.name}",
                    steps_done=0 if run.step is None else run.step + 1,
                    elapsed_s=run.elapsed_s,
                    last_output=writable(run.last_output),
                    beside=run.beside,
                    side_by_side=_side_by_side(run.side_by_side),
                )
                for run in runs
            ]
        )
    )


def run_state(
    run: RunJson, phase: int, manifest: Mapping[str, Any] | None = None, output_tail: str = ""
) -> agents_pb2.AgentMessage:
    """The state of a run; RUNNING and ENDED carry the manifest."""
    return agents_pb2.AgentMessage(
        run_state=agents_pb2.RunState(
            run_id=run.run_id,
            attempt=run.attempt,
            phase=agents_pb2.RunPhase.Name(phase),
            manifest_json=_manifest_text(manifest) if manifest else "",
            exit_code=run.exit_code,
            end=run.end,
            message=writable(redact_text(run.message))[:LINE_CHARS_MAX],  # it may name a file
            output_tail=output_tail,
            ranks=run.ranks,
            wall_s=run.wall_s,
            failure=_failure(run.failure),
            timings=agents_pb2.RunTimings(**run.timings) if run.timings else None,
            beside=run.beside,
        )
    )


def _side_by_side(found: SideBySide | None) -> agents_pb2.SideBySide | None:
    return None if found is None else agents_pb2.SideBySide(**asdict(found))


def _failure(found: Mapping[str, Any] | None) -> agents_pb2.RunFailure | None:
    if found is None:
        return None
    texts = {
        name: writable(redact_text(str(found[name])))
        for name in ("signal", "module", "file", "original", "interpreter")
    }
    return agents_pb2.RunFailure(
        kind=found["kind"], exit_code=found["exit_code"], tail=[writable(line) for line in found["tail"]], **texts
    )


def _manifest_text(manifest: Mapping[str, Any]) -> str:
    """The manifest as JSON. A training decides how long its section is, so the longest ones are left out, and named, if it is too long."""
    sections = {name: json.dumps(section) for name, section in manifest.items()}
    left_out = []
    while sum(map(len, sections.values())) > SECTIONS_CHARACTERS_MAX:
        longest = max(sections, key=lambda name: len(sections[name]))
        del sections[longest]
        left_out.append(longest)
    kept = {name: manifest[name] for name in sections}
    return json.dumps({**kept, "left_out": left_out} if left_out else kept)
