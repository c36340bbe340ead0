"""Causes that enter with an optimizer: parameters in an order of their own, restored state of other parameters, other settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from detctl_coordinator.attribution.evidence.cause_finding import CauseFinding, describe, finding
from detctl_coordinator.attribution.evidence.facts import Note
from detctl_coordinator.attribution.evidence.hash_seed import hash_seed_is_fixed
from detctl_coordinator.attribution.evidence.observed.optimizers import (
    StateChange,
    made_differently,
    parameter_order_differs,
    restored_state,
    scale_change,
    scheduler_lines,
    tensors_moved,
)
from detctl_coordinator.attribution.evidence.pair_evidence import Evidence
from detctl_coordinator.attribution.signatures.config_drift import settings_that_fit
from detctl_coordinator.comparison.roots import BEFORE_STEP
from detctl_coordinator.domain.fingerprint import Stage

# What a set of these is ordered by differs in each process, whatever PYTHONHASHSEED is.
BY_IDENTITY = ("tensor", "module")


# Calls whose result differs in each process -> the cause that they stand for.
SOURCES: Mapping[str, frozenset[str]] = {
    "hash-order": frozenset({"hash"}),
    "identity-seed": frozenset(
        {
            *(
                f"time.{name}{unit}"
                for name in ("time", "monotonic", "perf_counter", "process_time")
                for unit in ("", "_ns")
            ),
            *(f"datetime.{name}" for name in ("datetime.now", "datetime.utcnow", "datetime.today", "date.today")),
            *("os.getpid", "os.getppid", "socket.gethostname", "platform.node", "uuid.uuid1", "uuid.getnode", "id"),
        }
    ),
    "unseeded-rng": frozenset(
        {"os.urandom", "uuid.uuid4", "secrets.randbelow", "secrets.randbits", "secrets.choice", "random.SystemRandom"}
    ),
}
# Stages in which the order of parameters can be the first to matter: sums over them, positions in a state, numbers in a checkpoint.
ORDERED = (Stage.BACKWARD, Stage.UPDATE, Stage.ARTIFACT)


def is_prepared(evidence: Evidence) -> bool:
    """Returns whether the root is what an optimizer has before its step, or the scale that a GradScaler gives to a loss."""
    return evidence.root.node.part == BEFORE_STEP or (
        evidence.stage is Stage.LOSS and scale_change(evidence.root) is not None
    )


def parameter_order(evidence: Evidence) -> list[CauseFinding]:
    """Matches if an optimizer's parameters are in another order, so that its restored state belongs to other parameters, or sums over
    the parameters round differently. What made the order names the cause."""
    state = restored_state(evidence.root)
    if evidence.stage not in ORDERED or not (evidence.between_twins or evidence.scope == "runs"):
        return []
    if evidence.stage is Stage.ARTIFACT and not tensors_moved(evidence.root):
        return []
    if state is not None and state.kind != "moved":
        return []
    if (state is None and evidence.setting_changes) or evidence.differs(Stage.RNG):
        return []
    optimizer = parameter_order_differs(evidence.pair, evidence.root)
    if not optimizer:
        return []
    notes = [n for n in evidence.notes("parameter-order") if str(n.raw.get("optimizer")) == optimizer]
    seen = [n for n in notes if n.raw.get("seen")]
    if not notes or (state is None and not seen):
        return []
    lines = [*_state_lines(evidence, state, optimizer), describe(evidence)]
    return [_ordered_by(evidence, seen or notes, lines, sure=bool(seen) or len(notes) == 1)]


def _state_lines(evidence: Evidence, state: StateChange | None, optimizer: str) -> list[str]:
    if evidence.stage is Stage.ARTIFACT:
        return [
            f"A checkpoint numbers the parameters of {optimizer} by their order: the same tensors have other numbers in each run."
        ]
    if state is None:
        return [
            f"The parameters of {optimizer} are in another order in each run, and sums over them round differently."
        ]
    loaded = evidence.loaded(optimizer)
    by = f" that load_state_dict restored ({loaded})" if loaded else ""
    return [
        f"The state of {optimizer}{by} belongs to other parameters in each run: the same values, on {len(state.moved)} parameters.",
        "load_state_dict assigns state by position, and the parameters are in another order in each process.",
    ]


def _ordered_by(evidence: Evidence, notes: list[Note], lines: list[str], *, sure: bool) -> CauseFinding:
    """Returns the cause that the maker of an order stands for. `sure`: there is one such place."""
    elements = {str(note.raw.get("elements")) for note in notes}
    fixed = hash_seed_is_fixed(evidence)
    by_identity = elements <= set(BY_IDENTITY) or (fixed and "str" not in elements)
    word = "identity-seed" if by_identity else "hash-order"
    note = notes[0]
    if by_identity:
        text = "An object's identity orders the parameters"
    elif elements == {"str"}:
        text = "The hashes of strings order the parameters"
    else:
        text = "The order of a set reaches the optimizer"
    code = str(note.raw.get("code") or "")
    places = list(dict.fromkeys(n.where for n in notes if n.where))
    at = places[0] if sure and places else ""
    found = f" ({at}: {code})" if at and code else f" ({' or '.join(places)})" if places else ""
    fixes = [_fix(n, n.where if at else "") for n in notes]
    fix = fixes[0][0]
    change = list(dict.fromkeys(line for _, lines in fixes for line in lines))
    return finding(
        evidence,
        word,
        [f"{text}{found}.", *lines],
        fix,
        clues=[n.clue for n in notes],
        fix_at=at,
        change=change if at else [],
    )


def _fix(note: Note, at: str) -> tuple[str, list[str]]:
    """Returns the fix as a sentence and as lines of a diff, made from the user's own line."""
    code, expression = str(note.raw.get("code") or ""), str(note.raw.get("expression") or "")
    argument, elements = str(note.raw.get("argument") or ""), str(note.raw.get("elements") or "")
    where = f" at {at}" if at else ""
    if expression == "key=id":
        return f"Sort the parameters by their names, not by id(){where}.", []
    if elements == "str":
        fixed = f"sorted({expression})"
        fix = f"Sort the names{where}"
    elif argument:
        fixed = f"dict.fromkeys({argument})" if note.raw.get("iterated") else f"list(dict.fromkeys({argument}))"
        fix = f"Remove duplicates in a fixed order{where}"
    else:
        text = f"Take the parameters in the model's order{where}, and only test `in {expression or 'the set'}`; or sort them by name."
        return text, []
    if not expression or expression not in code:
        return f"{fix}, with {'sorted(…)' if elements == 'str' else 'list(dict.fromkeys(…))'}.", []
    return f"{fix}: {fixed}.", [f"- {code}", f"+ {code.replace(expression, fixed, 1)}"]


def drawn_setting(evidence: Evidence) -> list[CauseFinding]:
    """Matches if a setting differs between twins and the statement that wrote it last takes its value from one thing that differs in each
    process: a clock, a process id, a host's name, or hash()."""
    changes = [change for change in evidence.setting_changes if change.key != "initial_lr"]
    if not changes or not (evidence.between_twins or (evidence.scope == "runs" and not evidence.suspects)):
        return []
    sources = {source for change in changes for writer in change.writers for source in _sources(writer.calls)}
    if len(sources) != 1 or not all(_sources(writer.calls) for change in changes for writer in change.writers):
        return []
    word, call = next(iter(sources))
    if word == "hash-order" and hash_seed_is_fixed(evidence):
        return []
    at = next((change.at for change in changes if change.at), "")
    names = ", ".join(dict.fromkeys(change.key for change in changes))
    lines = [
        *prepared_lines(evidence),
        f"The value of {names} comes from {call}, which differs in each process.",
        describe(evidence),
    ]
    fix = f"Compute {names}{f' at {at}' if at else ''} from a constant or a parameter, not from {call}."
    return [finding(evidence, word, lines, fix, clues=[change.clue for change in changes], fix_at=at, change=())]


def _sources(calls: Sequence[str]) -> set[tuple[str, str]]:
    return {(word, call) for call in calls for word, found in SOURCES.items() if call in found}


def with_settings(evidence: Evidence, findings: list[CauseFinding]) -> list[CauseFinding]:
    """Returns the findings of any signature at a root of this kind, with what differs and the lines that wrote it."""
    lines = prepared_lines(evidence)
    at = next((change.at for change in evidence.setting_changes if change.at), "")
    clues = tuple(change.clue for change in evidence.setting_changes)
    return [
        replace(
            one,
            evidence=tuple(dict.fromkeys([*lines, *one.evidence])),
            clues=tuple(dict.fromkeys([*one.clues, *clues])),
            fix_at=one.fix_at or at,
        )
        for one in findings
    ]


def prepared_settings(evidence: Evidence) -> list[CauseFinding]:
    """Matches if a setting of an optimizer or a GradScaler differs between configurations, and so does a setting of the run that can be
    why; or if the twins of each configuration agree, so that something of the environment resolves differently."""
    if evidence.between_twins:
        return []
    changes, lines = evidence.setting_changes, prepared_lines(evidence)
    if not lines:
        return []
    suspects = settings_that_fit(evidence)
    if not suspects and not evidence.twins_agree:
        return []
    at = next((change.at for change in changes if change.at), "")
    names = ", ".join(dict.fromkeys(change.key for change in changes)) or "the optimizer's state"
    names = "the scale" if scale_change(evidence.root) is not None else names
    if suspects:
        source = ", ".join(s.name for s in suspects[:3])
        fix = f"Use the same {source} in both runs, which can decide {names}{f' ({at})' if at else ''}."
        lines = [*lines, *(s.description + (" (varied by the audit)" if s.deliberate else "") for s in suspects[:6])]
    else:
        fix = f"Write out the value of {names}{f' ({at})' if at else ''}: it resolves differently in the two runs."
        lines = [*lines, "The twins of each configuration agree, so the value is not drawn at random."]
    clues = [change.clue for change in changes]
    settings = [s.key for s in suspects]
    return [
        finding(
            evidence, "config-drift", [*lines, describe(evidence)], fix, clues=clues, fix_settings=settings, fix_at=at
        )
    ]


def prepared_lines(evidence: Evidence) -> list[str]:
    """Returns what differs of optimizers, schedulers and GradScalers at the root, with the lines of the user's code that wrote it."""
    lines = [change.description for change in evidence.setting_changes]
    scale = scale_change(evidence.root)
    if scale is not None:
        lines.append(f"The scale of the GradScaler differs: {scale[0]:g} vs {scale[1]:g}.")
    if lines:
        lines += scheduler_lines(evidence.pair, evidence.root)
        for kind in ("scheduler", "scaler"):
            lines += made_differently(evidence.left.note(kind), evidence.right.note(kind))
    state = restored_state(evidence.root)
    if state is not None and state.kind == "one-sided":
        loaded = evidence.loaded(state.optimizer)
        lines.append(
            f"Only the {state.side} run has state of {state.optimizer} before this step{f', restored at {loaded}' if loaded else ''}."
        )
    elif state is not None and state.kind == "content":
        loaded = evidence.loaded(state.optimizer)
        lines.append(
            f"The state of {state.optimizer} before this step differs{f', restored at {loaded}' if loaded else ''}."
        )
    return list(dict.fromkeys(lines))
