"""Fixes that the program does not follow already, from what its source shows. Pure."""

from __future__ import annotations

from detctl_coordinator.attribution.evidence.observed.source_lines import SEEDS, SourceFacts

DETERMINISTIC_CALL = "torch.use_deterministic_algorithms(True)"
LOADER_ARGUMENTS = {
    "generator": "a seeded generator",
    "worker_init_fn": "a worker_init_fn that seeds numpy and random from torch.initial_seed()",
}


def seed_all(source: SourceFacts, what: str) -> str:
    """Returns how to seed what is not seeded yet. `what`: the value that differs, to look at if everything is seeded."""
    missing = [library for library in SEEDS if not (source.known and source.seeds(library))]
    if not missing:
        return f"random, numpy and torch are seeded already. Look at what makes {what}: a private generator, or another source."
    if len(missing) == len(SEEDS):
        return "Seed random, numpy and torch at the start of the script, for example with detctl_probe.set_deterministic(seed)."
    seeded = [library for library in SEEDS if library not in missing]
    return f"Seed {' and '.join(missing)} at the start of the script ({' and '.join(seeded)} {'is' if len(seeded) == 1 else 'are'} seeded)."


def loader_arguments(source: SourceFacts) -> str:
    """Returns which arguments a DataLoader lacks for seeded workers, and where."""
    lacking = [
        (file, line, set(LOADER_ARGUMENTS) - given)
        for file, line, given in source.loaders
        if set(LOADER_ARGUMENTS) - given
    ]
    if source.loaders and not lacking:
        return "The loaders have a generator and a worker_init_fn: look at what it seeds, and at generators of the dataset."
    missing = [name for name in LOADER_ARGUMENTS if not lacking or any(name in names for _, _, names in lacking)]
    at = ", ".join(dict.fromkeys(f"{file}:{line}" for file, line, _ in lacking))
    what = " and ".join(LOADER_ARGUMENTS[name] for name in missing)
    return f"Pass the DataLoader {what}{f' ({at})' if at else ''}."
