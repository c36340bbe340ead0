"""resume: a run that continues another does not restore everything that its training carries from step to step."""

from __future__ import annotations

from collections.abc import Mapping

from detctl_coordinator.attribution.continuations.calls import (
    NAMES,
    LoadedFile,
    continued,
    loaded_files,
    named,
    saved_files,
)
from detctl_coordinator.attribution.continuations.restoration import GENERATORS, Restoration, State, restoration_of
from detctl_coordinator.attribution.continuations.restoring_calls import calls_of
from detctl_coordinator.attribution.evidence.cause_finding import CauseFinding, describe, finding
from detctl_coordinator.attribution.evidence.facts import Note
from detctl_coordinator.attribution.evidence.observed.optimizers import parameter_order_differs, restored_state
from detctl_coordinator.attribution.evidence.pair_evidence import DATA, Evidence, RunFacts
from detctl_coordinator.comparison.updates.before_step import is_settings
from detctl_coordinator.domain.fingerprint import Phase, Stage

DRAWN: tuple[State, ...] = ("python", "numpy", "torch", "cuda")
DECIDES_DATA: tuple[State, ...] = (*GENERATORS, "order", "position", "epoch")
UNSEEDED = ("unseeded-rng", "self-seeded", "thread-step")  # notes of what differs in each run anyway
FEW_BATCHES = 2
COUNTERS_SHOWN = 3
ADVICE: Mapping[State, str] = {
    "epoch": "Save the number of the epoch, and continue with the next one: in the loop, and in the sampler's set_epoch.",
    "position": "Save how many batches of the epoch are done, and skip as many when the loader starts again.",
    "order": "Save the state of what orders the samples, and set it before the loader starts. Within an epoch that is its state at the "
    "epoch's start, and the batches that are done must be skipped.",
}
# Framework -> its hooks for what it does not save itself.
HOOKS: Mapping[str, str] = {
    "lightning": "on_save_checkpoint and on_load_checkpoint of the module",
    "pytorch_lightning": "on_save_checkpoint and on_load_checkpoint of the module",
    "accelerate": "accelerator.register_for_checkpointing",
    "transformers": "a TrainerCallback: on_save and on_train_begin",
}
_KEPT_BY_TRAINER = (
    "Trainer saves the state of all generators in rng_state.pth: keep that file in the checkpoint's folder."
)
_SEEDABLE = (
    "Make the order depend on seed and epoch alone: Accelerator(dataloader_config=DataLoaderConfiguration(use_seedable_sampler=True)), "
    "and loader.set_epoch(epoch)."
)
# Framework -> what it restores itself, and why it may not have.
KEEPS: Mapping[str, Mapping[State, str]] = {
    "transformers": dict.fromkeys(DRAWN, _KEPT_BY_TRAINER),
    "accelerate": {**dict.fromkeys(DRAWN, _SEEDABLE), "order": _SEEDABLE},
}


def resume(evidence: Evidence) -> list[CauseFinding]:
    """Matches if one run continues the other, and a state that was not restored can affect the root."""
    if evidence.pair.continuation is None:
        return []
    found = restoration_of(evidence.pair, evidence.left, evidence.right)
    states = _acting(evidence, found)
    if not states or (set(states) <= {*DRAWN} and _unseeded(evidence, states)):
        return []
    who = evidence.right if evidence.pair.continuation.continuing == "right" else evidence.left
    whole = evidence.left if who is evidence.right else evidence.right
    lines = [continued(evidence.pair, found), *(found.lost[state] for state in found.lost), describe(evidence)]
    loads = loaded_files(who)
    saves = _checkpoints(loads, saved_files(who), saved_files(whole))
    at = next((load.where for load in reversed(loads) if load.where), "")
    instead = _instead(evidence, who, found, loads)
    fix = _fix(states, found, loads, saves, instead)
    if "schedule" in states and "schedule" not in instead:
        fix = " ".join((fix, _rate_set_again(evidence, who))).rstrip()
    read = {load.where for load in loads if load.what == "file"}
    lines += [
        f"{load.where}: {load.source}" for load in loads if load.source and (load.in_script or load.where in read)
    ]
    return [
        finding(
            evidence,
            "resume",
            lines,
            fix,
            clues=[note.clue for note in who.note("restored")],
            fix_at=at,
            change=_change([state for state in states if state not in instead], found, loads, saves),
        )
    ]


def unaligned(evidence: Evidence) -> list[CauseFinding]:
    """Matches if one run alone loads the state of an optimizer, so that it continues a training, but no recorded step of the other has
    the weights that it starts with. Other differences then prove nothing."""
    if evidence.pair.continuation is not None:
        return []
    sides = [side for side in (evidence.left, evidence.right) if _continues(side.note("restored"))]
    if len(sides) != 1 or evidence.root.step > 0:
        return []
    who = sides[0]
    which, rest = ("first", "second") if who is evidence.left else ("second", "first")
    load = next((load for load in loaded_files(who) if load.where and load.what == "file"), None)
    at = load.where if load is not None else ""
    lines = [
        f"The {which} run loads a checkpoint{f' at {at}' if at else ''}, but no recorded step of the {rest} has the weights "
        "with which it starts.",
        "So it is unknown which steps of the two belong together, and other differences prove nothing.",
        describe(evidence),
    ]
    fix = f"Record the {rest} run through the step at which the checkpoint was saved, with --to-end, and compare again."
    return [finding(evidence, "unknown", lines, fix, clues=[n.clue for n in who.note("restored")], fix_at=at)]


def _checkpoints(loads: list[LoadedFile], *saves: list[LoadedFile]) -> list[LoadedFile]:
    """Returns the calls that save what was loaded, by the names of the files, whatever numbers are in them; else those of the first run
    that saves anything."""
    loaded = {load.file for load in loads if load.file}
    same = [save for side in saves for save in side if save.file in loaded]
    return same or next((side for side in saves if side), [])


def _continues(notes: list[Note]) -> bool:
    return {"file", "optimizer"} <= {str(note.raw.get("what")) for note in notes if not note.raw.get("step")}


def _acting(evidence: Evidence, found: Restoration) -> list[State]:
    """Returns the states that were not restored and that can affect the root."""
    root, lost = evidence.root, found.lost
    begins = evidence.pair.continuation is not None and root.step == evidence.pair.continuation.step
    if (
        "script" in lost
    ):  # nothing else is lost; what lies within rounding, or beside other draws, may have another cause
        other = evidence.size == "tiny" or evidence.notes(*UNSEEDED)
        return ["script"] if root.kind == "structure" or not other else []
    if root.node.stage is Stage.RNG:
        sites = {site.site.partition(":")[0].replace("random", "python") for site in root.sites}
        states = [state for state in lost if state in DRAWN and (state in sites or root.node.part)]
        if not states and {"order", "position", "epoch", "loader"} & set(lost):
            return list(lost)  # what starts its order again draws from it
        # What comes with it is named too, although it has roots of its own.
        return [*states, *(state for state in lost if state not in states)] if states else []
    if root.node.stage in (*DATA, Stage.FILES):
        return list(lost) if any(state in DECIDES_DATA for state in lost) else []
    if root.node.stage is Stage.ARTIFACT or (
        root.node.phase is Phase.EVAL and root.node.stage in (Stage.FORWARD, Stage.LOSS)
    ):
        return [state for state in lost if state in ("ema", "buffers")]
    if root.kind == "structure" and "epoch" in lost and not begins:
        return ["epoch"]
    if root.node.stage in (Stage.FORWARD, Stage.LOSS) and begins and any(state in DECIDES_DATA for state in lost):
        return list(lost)
    if root.node.stage in (Stage.FORWARD, Stage.LOSS) and begins:
        acting: tuple[State, ...] = (
            "weights",
            "buffers",
            "ema",
            *(("scaler",) if root.node.stage is Stage.LOSS else ()),
        )
        return list(lost) if any(state in acting for state in lost) else []
    if root.node.stage is Stage.UPDATE:
        acting = ("optimizer", "schedule", "buffers", "weights")
        if begins or _of_schedule(evidence) or restored_state(root) is not None:
            return list(lost) if any(state in acting for state in lost) else []
    return []


def _of_schedule(evidence: Evidence) -> bool:
    return any(site.site.endswith(".lr") or is_settings(site.site) for site in evidence.root.sites)


def _unseeded(evidence: Evidence, states: list[State]) -> bool:
    """Returns whether a note reports all of these generators as unseeded: then two whole runs would differ as well."""
    names = {"random" if state == "python" else state for state in states}
    return names <= {str(note.raw.get("generator")) for note in evidence.notes("unseeded-rng")}


def _rate_set_again(evidence: Evidence, who: RunFacts) -> str:
    """Returns what to do if an assignment of the run that continues sets the learning rate, which its schedule decides; else nothing."""
    for change in evidence.setting_changes:
        writer = change.writers[1 if who is evidence.right else 0]
        if change.key == "lr" and writer.by == "assignment" and writer.certain and who.note("scheduler"):
            return f"{writer.certain} sets {change.name}, which the schedule decides: do not run it when the training continues."
    return ""


def _restores_schedule(who: RunFacts) -> bool:
    return any(note.raw.get("what") == "schedule" for note in who.note("restored"))


def _own_schedule(found: Restoration) -> str:
    """Returns what to do if the script computes the learning rate itself; empty if it has a scheduler or nothing is known."""
    counters = [value for value in found.values.get("schedule", ()) if value.found.kind == "number"]
    if not counters:
        return ""
    needed = ", ".join(
        f"{value.found.path or value.site} = {value.expected.text}" for value in counters[:COUNTERS_SHOWN]
    )
    return f"The script sets the learning rate itself. At step {found.step} it needs {needed}: save and restore that value."


def _optimizer_loaded(evidence: Evidence, who: RunFacts, loads: list[LoadedFile]) -> str:
    """Returns what to do if the run that continues restores its optimizer, and it has another state all the same; else nothing."""
    load = next((load for load in loads if load.what == "optimizer" and load.where), None)
    state = restored_state(evidence.root)
    lost = next((n for n in who.note("optimizer") if state is not None and n.raw.get("name") == state.optimizer), None)
    if load is None or (lost is not None and not lost.raw.get("restored")):
        return ""  # another optimizer is restored
    if not parameter_order_differs(evidence.pair, evidence.root):
        return f"{load.where} restores the optimizer with another state: save it together with the weights."
    made = next((note.where for note in who.note("optimizer") if note.where), "")
    return (
        f"{load.where} assigns state by position, and the optimizer{f' ({made})' if made else ''} has its parameters in another order "
        "than in the run that saved it: give it the same groups in the same order."
    )


def _instead(evidence: Evidence, who: RunFacts, found: Restoration, loads: list[LoadedFile]) -> dict[State, str]:
    """Returns what to do about states that the script restores already, or that no call restores, instead of saving and restoring them."""
    texts: dict[State, str] = {
        "optimizer": _optimizer_loaded(evidence, who, loads) if "optimizer" in found.lost else "",
        "schedule": ((_rate_set_again(evidence, who) if _restores_schedule(who) else "") or _own_schedule(found))
        if "schedule" in found.lost
        else "",
        "position": _place_in_data(found) if "position" in found.lost else "",
    }
    return {state: text for state, text in texts.items() if text}


def _fix(
    states: list[State],
    found: Restoration,
    loads: list[LoadedFile],
    saves: list[LoadedFile],
    instead: Mapping[State, str],
) -> str:
    """Returns what to add to the user's own lines. A framework has hooks for it; a state that the checkpoint has needs no saving."""
    package = next((load.package for load in reversed(loads) if load.package), "")
    calls = [
        state
        for state in states
        if calls_of(state, found) and not (package in KEEPS and state in KEEPS[package]) and state not in instead
    ]
    unsaved = [state for state in calls if state not in found.saved]
    parts = [KEEPS[package][state] for state in states if package in KEEPS and state in KEEPS[package]]
    if calls and package:
        hooks = HOOKS.get(package, "where it saves and loads a checkpoint")
        saved = f"save {_listed(unsaved, found, 0)} in each checkpoint, and " if unsaved else ""
        parts.append(f"{package} does not restore {named(calls)}: {saved}set {_listed(calls, found, 1)} ({hooks}).")
    elif calls:
        after = next((load for load in reversed(loads) if load.in_script), None)
        place = f" after {after.where}" if after is not None else ""
        where = f" where {saves[0].where} saves it" if saves and saves[0].where else ""
        if unsaved:
            parts.append(f"Save {_listed(unsaved, found, 0)} in the checkpoint{where}.")
        if kept := [f"{NAMES[state]} ({found.saved[state]})" for state in calls if state in found.saved]:
            parts.append(f"The checkpoint already has the state of: {', '.join(kept)}.")
        last = ", before anything is drawn" if any(state in GENERATORS for state in calls) else ""
        parts.append(f"Restore{place}{last}: {_listed(calls, found, 1)}.")
    parts += [
        ADVICE[state]
        for state in states
        if state in ADVICE and state not in (*calls, *instead) and not (package in KEEPS and state in KEEPS[package])
    ]
    parts += [instead[state] for state in states if state in instead]
    return " ".join(dict.fromkeys(parts)) or f"Restore {named(states)} too."


def _place_in_data(found: Restoration) -> str:
    """Returns what to do if batches are skipped already, but too few of them, or if accumulated gradients are lost."""
    if found.accumulated:
        return "Save a checkpoint only after a step of the optimizer, when no accumulated gradients wait, or save the gradients too."
    early = found.step - found.replayed if found.replayed else 0
    if not 0 < early <= FEW_BATCHES:
        return ""
    return f"It begins with the data of step {found.replayed}: skip {early} more batch{'es' if early > 1 else ''} after the restart."


def _listed(states: list[State], found: Restoration, side: int) -> str:
    return ", ".join(dict.fromkeys(call[side].format("…") for state in states for call in calls_of(state, found)))


def _change(states: list[State], found: Restoration, loads: list[LoadedFile], saves: list[LoadedFile]) -> list[str]:
    """Returns the lines to add, each below the line of the user's code that it belongs to."""
    calls = [state for state in states if calls_of(state, found)]
    after = next((load for load in reversed(loads) if load.where and load.in_script), None)
    if not calls or after is None or any(load.package for load in loads):
        return []
    lines = []
    unsaved = [state for state in calls if state not in found.saved]
    at = next((save for save in saves if save.where and not save.single), None)
    own_file = at is None and any(save.where for save in saves)
    if own_file:
        at = next(save for save in saves if save.where)
    if unsaved and at is not None:
        added = ", ".join(
            f'"{key}": {call[0]}' for state in dict.fromkeys(unsaved) for key, call in _keyed(state, found)
        )
        lines.append(f"  {at.where}: {at.source}")
        lines.append(f"+ torch.save({{{added}}}, …)" if own_file else f"+ {added}   (in what is saved)")
    lines.append(f"  {after.where}: {after.source}")
    rows = [(state, name, call) for state in dict.fromkeys(calls) for name, call in _keyed(state, found)]
    for lost, name, call in rows:
        key = found.saved.get(lost) or f'["{name}"]'
        whole_file = own_file and lost in unsaved
        line = call[1].format(f"{after.holder}{key}" if key.startswith("[") and not whole_file else "…")
        own = next((name for save in saves if (name := save.saving(key.strip('[]"')))), "")
        lines.append(
            f"+ {line.replace(line.partition('.load_state_dict')[0], own, 1) if own and '.load_state' in line else line}"
        )
    return lines


def _keyed(state: State, found: Restoration) -> list[tuple[str, tuple[str, str]]]:
    """Returns (key in what is saved, calls) of each object that has a state: its own name if it is a value of the script."""
    calls = calls_of(state, found)
    if state == "script":
        return [(call[0].rpartition(".")[2], call) for call in calls]
    return [(_key(state) + (str(number) if number > 1 else ""), call) for number, call in enumerate(calls, 1)]


def _key(state: State) -> str:
    return f"{state}_rng" if state in GENERATORS else {"weights": "model", "buffers": "model"}.get(state, state)
