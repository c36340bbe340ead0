"""Shows a fix as lines of a diff, for causes whose own line is not known: the call as it is, and as it should be. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from detctl_coordinator.attribution.evidence.advice import DETERMINISTIC_CALL
from detctl_coordinator.attribution.evidence.observed.source_lines import SourceFacts
from detctl_coordinator.domain.clue import Clue

# Calls that make a private generator and take its seed as their first argument.
MAKES_GENERATOR = ("numpy.random.default_rng", "random.Random", "numpy.random.RandomState")
SEED_CALLS = {"random": "random.seed(seed)", "numpy": "numpy.random.seed(seed)", "torch": "torch.manual_seed(seed)"}
ALL_SEEDS = "; ".join(SEED_CALLS.values())
# A call that takes results as they finish -> the line as it is, and one that takes them in the order of submission.
COMPLETION_ORDER = {
    "queue.Queue": ("- queue.put(result)", "+ queue.put((number, result))   and take them by number"),
    "concurrent.futures.as_completed": ("- for done in as_completed(futures):", "+ for done in futures:"),
    "imap_unordered": ("- pool.imap_unordered(work, items)", "+ pool.imap(work, items)"),
}
# Notes about lines for which no change is known that always works.
WITHOUT_PATTERN = (
    "outside",
    "command",
    "query",
    "file-times",
    "uninitialised",
    "self-seeded",
    "optimizer-setting",
    "parameter-order",
)
FIXED: dict[str, tuple[str, ...]] = {
    "hash-order": ("- for name in names:", "+ for name in sorted(names):"),
    "worker-seeding": (
        "- DataLoader(data, num_workers=n)",
        "+ DataLoader(data, num_workers=n, generator=generator, worker_init_fn=seed_worker)",
    ),
    "nondeterministic-kernel": (
        "+ torch.use_deterministic_algorithms(True)",
        "+ torch.backends.cudnn.benchmark = False",
    ),
}


def change_of(cause: str, clues: Sequence[Clue], source: SourceFacts | None = None) -> list[str]:
    """Returns lines that begin with `- ` or `+ `; empty if no change of a line fixes the cause. `clues`: strongest first. `source`: what
    the program already does. If its lines are known, no example of a line is shown that may not be in it."""
    if any(clue.kind in WITHOUT_PATTERN for clue in clues[:1]):
        return []  # the fix quotes the user's line
    if source is not None and source.known:
        if cause == "nondeterministic-kernel":
            return [line for line in FIXED[cause] if not (source.deterministic and DETERMINISTIC_CALL in line)]
        if cause == "unseeded-rng" and not any(clue.call or clue.package for clue in clues):
            # A generator that was seen to draw unseeded needs a seed, also if the program has a call that did not run.
            drew = {clue.generator for clue in clues}
            missing = [call for library, call in SEED_CALLS.items() if library in drew or not source.seeds(library)]
            return [f"+ {'; '.join(missing)}"] if missing else []
        return []
    if cause == "filesystem-order":
        call = f"{_first_call(clues, 'listing') or 'os.listdir'}(folder)"
        return [f"- {call}", f"+ sorted({call})"]
    if cause == "identity-seed":
        call = _first_call(clues, "seeding") or "torch.manual_seed"
        return [f"- {call}(…clock, process, host or path…)", f"+ {call}(seed)"]
    if cause in ("unseeded-rng", "worker-seeding"):
        return _seeded(cause, clues)
    if cause == "concurrency":
        calls = [clue.call for clue in clues if clue.call in COMPLETION_ORDER] or ["imap_unordered"]
        return list(COMPLETION_ORDER[calls[0]])
    return list(FIXED.get(cause, ()))


def _seeded(cause: str, clues: Sequence[Clue]) -> list[str]:
    if any(clue.package for clue in clues):  # it is unknown how the package takes a seed
        return []
    made = next((clue.call for clue in clues if clue.call in MAKES_GENERATOR), "")
    if not made:
        return [f"+ {ALL_SEEDS}"] if cause == "unseeded-rng" else list(FIXED[cause])
    seed = "seed" if cause == "unseeded-rng" else "torch.initial_seed() % 2**32"
    return [f"- {made}()", f"+ {made}({seed})"]


def _first_call(clues: Sequence[Clue], kind: str) -> str:
    return next((clue.call for clue in clues if clue.kind == kind and clue.call), "")


def change_of_setting(name: str, now: str, fixed: str) -> list[str]:
    """Returns the diff of a setting of the second configuration. An empty value: unset."""
    return [f"- {name}={now}" if now else f"- {name} unset", f"+ {name}={fixed}" if fixed else f"+ {name} unset"]
