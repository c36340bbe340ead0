"""Plans the runs of an audit from a user's request. Pure: machines in, specs and warnings out.

Runs execute twin by twin, with the configurations forwards, then backwards (A B B' A' ...), so that a drift of the machine (heat,
caches, other processes) does not look like a difference between configurations. Machines run at the same time, each in this order.
"""

from __future__ import annotations

import difflib
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from detctl_proto.levels import LEVELS
from detctl_proto.limits import RUNS_MAX, TWINS_MAX
from detctl_proto.security.redaction import redact_pairs, redact_value
from detctl_proto.security.variable_rules import names_a_secret

from detctl_coordinator import limits
from detctl_coordinator.domain.audit import AuditRequest
from detctl_coordinator.domain.machine import Machine, Recipe
from detctl_coordinator.domain.run import Arm, RunSpec
from detctl_coordinator.errors.codes import Code, RefusedCallError
from detctl_coordinator.planning.variation_names import Change, check_given, check_value, resolve

SUGGESTION_CHARS_MAX = 128  # of a wrong name; a longer one resembles no valid name


@dataclass(frozen=True)
class Planned:
    """The specs of the runs in the order of execution. Their ids are `<audit id>.<number>`."""

    specs: tuple[RunSpec, ...]
    warnings: tuple[str, ...] = ()


def plan_runs(
    request: AuditRequest, machines: Mapping[str, Machine], connected: Iterable[str], audit_id: str = ""
) -> Planned:
    """Returns the planned runs. Raises RefusedCallError: NOT_FOUND for unknown names, INVALID_ARGUMENT for everything else."""
    _check_shape(request)
    chosen = [_machine(name, machines) for name in request.machines]
    recipes = {machine.name: _recipe(request.recipe, machine) for machine in chosen}
    for machine, environment in itertools.product(chosen, request.environments):
        if environment not in machine.environments:
            raise RefusedCallError(
                Code.NOT_FOUND,
                f"machine {machine.name} has no environment {environment!r}{did_you_mean(environment, machine.environments)}",
            )
    set_changes = [resolve(name, recipes) for name, _ in request.set]
    vary_changes = [resolve(name, recipes) for name, _ in request.vary]
    _no_name_twice(set_changes + vary_changes)
    fixed = list(zip(set_changes, (value for _, value in request.set), strict=True))
    varied = [
        list(zip(itertools.repeat(change), values))
        for change, (_, values) in zip(vary_changes, request.vary, strict=True)
    ]
    for change, value in [*fixed, *itertools.chain.from_iterable(varied)]:
        check_value(change, value, recipes)
    for change, value in itertools.chain.from_iterable(varied):
        _check_open(change, value)
    check_given({change.name for change in set_changes + vary_changes if change.kind == "param"}, recipes)
    # Count the runs before creating them: six names of 64 values are 69 billion combinations.
    total = len(chosen) * len(request.environments) * math.prod(map(len, varied)) * request.twins
    if total > RUNS_MAX:
        shown = total if total < 10**9 else "more than a billion"
        raise RefusedCallError(Code.INVALID_ARGUMENT, f"this audit would have {shown} runs; the limit is {RUNS_MAX}")
    combinations = list(itertools.product(*varied))
    configurations = [
        (Arm(machine.name, environment, tuple(sorted((c.typed, value) for c, value in combination))), combination)
        for combination, environment, machine in itertools.product(combinations, request.environments, chosen)
    ]
    specs: list[RunSpec] = []
    for twin in range(request.twins):
        for configuration, combination in configurations if twin % 2 == 0 else reversed(configurations):
            changes = [*fixed, *combination]
            specs.append(
                RunSpec(
                    run_id=f"{audit_id}.{len(specs):03d}" if audit_id else "",
                    audit_id=audit_id,
                    recipe=request.recipe,
                    arm=configuration,
                    twin=twin,
                    parameters={c.name: value for c, value in changes if c.kind == "param"},
                    variables={c.name: value for c, value in changes if c.kind == "env"},
                    interventions={c.name: value for c, value in changes if c.kind == "probe"},
                    level=request.level,
                    step_from=request.step_from,
                    step_to=request.step_to,
                    expected_source_digest=recipes[configuration.machine].source_digest,
                    budget_share=request.budget_share,
                )
            )
    warnings = (*_copies(request, chosen), *_warnings(request, recipes, set(connected), fixed))
    return Planned(tuple(specs), warnings)


def _check_shape(request: AuditRequest) -> None:
    if not request.recipe:
        raise RefusedCallError(Code.INVALID_ARGUMENT, "the request names no recipe")
    if not request.machines:
        raise RefusedCallError(Code.INVALID_ARGUMENT, "the request names no machine: add --machines NAME,NAME")
    for what, names, most in (
        ("machine", request.machines, limits.MACHINES_MAX),
        ("environment", request.environments, limits.VALUES_MAX),
    ):
        if len(names) > most:
            raise RefusedCallError(
                Code.INVALID_ARGUMENT, f"the request names {len(names)} {what}s; the limit is {most}"
            )
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise RefusedCallError(Code.INVALID_ARGUMENT, f"{what} {limits.clean(twice[0])} is named twice")
    if not 1 <= request.twins <= TWINS_MAX:
        raise RefusedCallError(Code.INVALID_ARGUMENT, f"--twins {request.twins} must be from 1 to {TWINS_MAX}")
    if request.step_to is not None and request.step_to <= request.step_from:
        raise RefusedCallError(Code.INVALID_ARGUMENT, f"--steps {request.step_from}:{request.step_to} contains no step")
    if (request.step_to or request.step_from) > limits.STEPS_MAX:
        raise RefusedCallError(Code.INVALID_ARGUMENT, f"--steps: a step is at most {limits.STEPS_MAX}")
    if request.level not in LEVELS:
        raise RefusedCallError(
            Code.INVALID_ARGUMENT, f"--level {limits.clean(request.level)} must be {' or '.join(LEVELS)}"
        )
    if not 0.0 <= request.budget_share < 1.0:  # NaN too
        raise RefusedCallError(Code.INVALID_ARGUMENT, "--budget must be a share of step time above 0 and below 100 %")
    for name, values in request.vary:
        if not 1 <= len(values) <= limits.VALUES_MAX or len(set(values)) < len(values):
            raise RefusedCallError(
                Code.INVALID_ARGUMENT,
                f"--vary {limits.clean(name)} must have 1 to {limits.VALUES_MAX} different values",
            )


def _machine(name: str, machines: Mapping[str, Machine]) -> Machine:
    if name not in machines:
        raise RefusedCallError(
            Code.NOT_FOUND, f"no machine {limits.clean(name)!r} is known here{did_you_mean(name, machines)}"
        )
    return machines[name]


def _recipe(name: str, machine: Machine) -> Recipe:
    if name not in machine.recipes:
        for note in machine.notes:
            if note.unusable and note.recipe == name:
                raise RefusedCallError(
                    Code.NOT_FOUND, f"machine {machine.name} cannot run recipe {limits.clean(name)!r}: {note.reason}"
                )
        where = f"the catalog of machine {machine.name} has no recipe {limits.clean(name)!r}"
        raise RefusedCallError(Code.NOT_FOUND, where + did_you_mean(name, machine.recipes))
    return machine.recipes[name]


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Returns the end of an error line: `; did you mean X? there are: X, Y`."""
    known = sorted(names)
    if not known:
        return "; there are none yet"
    close = difflib.get_close_matches(name[:SUGGESTION_CHARS_MAX], known, n=1)
    shown = ", ".join(known[:20]) + (", …" if len(known) > 20 else "")
    return (f"; did you mean {close[0]}?" if close else ";") + f" there are: {shown}"


def _check_open(change: Change, value: str) -> None:
    """Raises RefusedCallError if a varied parameter looks like a credential: the names of the runs would show its values."""
    if change.kind == "param" and (names_a_secret(change.name) or redact_value(value) != value):
        raise RefusedCallError(
            Code.INVALID_ARGUMENT,
            f"--vary {change.typed} looks like a credential, and the names of the runs would show its values; vary the name of a file",
        )


def _no_name_twice(changes: Sequence[Change]) -> None:
    seen: dict[tuple[str, str], str] = {}
    for change in changes:
        key = (change.kind, change.name)
        if key in seen:
            raise RefusedCallError(Code.INVALID_ARGUMENT, f"--set and --vary name {change.typed} twice")
        seen[key] = change.typed


def _copies(request: AuditRequest, machines: Iterable[Machine]) -> Iterable[str]:
    for machine in machines:
        for note in machine.notes:
            if note.recipe == request.recipe and not note.unusable:
                yield (
                    f"each run on {machine.name} starts in a copy of its folder, because no private view of the folder "
                    f"is possible: {note.reason}"
                )


def _warnings(
    request: AuditRequest, recipes: Mapping[str, Recipe], connected: set[str], fixed: Iterable[tuple[Change, str]]
) -> Iterable[str]:
    for name in request.machines:
        if name not in connected:
            yield f"machine {name} is not connected now; its runs wait for it"
    for change, value in fixed:
        if change.kind == "param" and all(recipe.parameters.get(change.name) == value for recipe in recipes.values()):
            shown = redact_pairs({change.name: value})[change.name]
            yield f"--set {change.typed}={shown} changes nothing: every machine has that value already"
    for name, values in request.vary:
        if len(values) == 1:
            yield f"--vary {name} has only one value, so the audit compares nothing across it"
