"""What a fix looks like, as lines of a diff: how the call reads now and how it should. Pure; of the source only file and line are known."""

from __future__ import annotations

import re
from collections.abc import Sequence

LISTED_BY = re.compile(r"listed by ([\w.]+)")
GENERATOR = re.compile(r"\b(numpy\.random\.default_rng|random\.Random|numpy\.random\.RandomState) without a seed")
INSIDE_PACKAGE = "takes one from the system, inside "
SEEDED_BY = re.compile(r"\bseed/([\w.]+)|\b(torch\.manual_seed|random\.seed|numpy\.random\.seed) got")
ALL_SEEDS = "random.seed(seed); numpy.random.seed(seed); torch.manual_seed(seed)"
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


def change_of(cause: str, evidence: Sequence[str]) -> list[str]:
    """Lines that begin with `- ` or `+ `; empty where no line of code would do. evidence: the cause's, which names calls."""
    told = "\n".join(evidence)
    if cause == "filesystem-order":
        listed = LISTED_BY.search(told)
        call = f"{listed[1] if listed else 'os.listdir'}(folder)"
        return [f"- {call}", f"+ sorted({call})"]
    if cause in ("unseeded-rng", "worker-seeding") and INSIDE_PACKAGE in told:  # how it takes a seed is not known
        return []
    if cause == "unseeded-rng":
        made = GENERATOR.search(told)
        return [f"- {made[1]}()", f"+ {made[1]}(seed)"] if made else [f"+ {ALL_SEEDS}"]
    if cause == "worker-seeding" and (made := GENERATOR.search(told)):
        return [f"- {made[1]}()", f"+ {made[1]}(torch.initial_seed() % 2**32)"]
    if cause == "identity-seed":
        by = SEEDED_BY.search(told)
        call = (by[1] or by[2]) if by else "torch.manual_seed"
        return [f"- {call}(…clock, process, host or path…)", f"+ {call}(seed)"]
    if cause == "concurrency":
        if "queue.Queue" in told:
            return ["- queue.put(result)", "+ queue.put((number, result))   and take them by number"]
        asked = ("- for done in as_completed(futures):", "+ for done in futures:")
        return list(
            asked if "as_completed" in told else ("- pool.imap_unordered(work, items)", "+ pool.imap(work, items)")
        )
    return list(FIXED.get(cause, ()))


def change_of_setting(name: str, now: str, wanted: str) -> list[str]:
    """Of a setting that the second arm has otherwise; an empty value: unset."""
    return [f"- {name}={now}" if now else f"- {name} unset", f"+ {name}={wanted}" if wanted else f"+ {name} unset"]
