"""DataLoaders: what their workers draw, and how many there are."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from detctl_cli.doctor.finding import Finding
from detctl_cli.doctor.source import Module, Program

_LOADERS = frozenset({"torch.utils.data.DataLoader", "torch.utils.data.dataloader.DataLoader", "DataLoader"})
_BY_MACHINE = frozenset(
    {"os.cpu_count", "multiprocessing.cpu_count", "psutil.cpu_count", "os.process_cpu_count", "os.sched_getaffinity"}
)
_WORKERS_POSITION = 5  # DataLoader(dataset, batch_size, shuffle, sampler, batch_sampler, num_workers, …)


def worker_seeding(program: Program) -> Iterator[Finding]:
    """num_workers > 0 and neither generator nor worker_init_fn; with one of them, or a count known at run time only: info."""
    for module, call in _loaders(program):
        workers = _argument(call, "num_workers", _WORKERS_POSITION)
        if workers is None or (isinstance(workers, ast.Constant) and not workers.value) or _has_stars(call):
            continue
        given = {keyword.arg for keyword in call.keywords} & {"generator", "worker_init_fn"}
        if len(given) == 2:
            continue
        missing = " and ".join(sorted({"generator", "worker_init_fn"} - given))
        sure = isinstance(workers, ast.Constant) and not given
        yield Finding(
            "warn" if sure else "info", "worker-seeding", f"DataLoader with workers has no {missing}",
            "generators that a worker makes itself are unseeded, and its seeds follow what drew from torch before",
            "DataLoader(…, generator=torch.Generator().manual_seed(SEED), worker_init_fn=seed_worker)",
            module.shown, call.lineno,
        )  # fmt: skip


def workers_by_machine(program: Program) -> Iterator[Finding]:
    """num_workers taken from the number of cores: another machine draws other things in other workers."""
    for module, call in _loaders(program):
        workers = _argument(call, "num_workers", _WORKERS_POSITION)
        if workers is None:
            continue
        inner = (module.dotted(node.func) for node in ast.walk(workers) if isinstance(node, ast.Call))
        if any(name in _BY_MACHINE for name in inner):
            yield Finding(
                "warn", "worker-count", "num_workers follows the number of cores",
                "random transforms draw in another worker on a machine with another number", "name a number",
                module.shown, call.lineno,
            )  # fmt: skip


def _loaders(program: Program) -> Iterator[tuple[Module, ast.Call]]:
    for module in program.modules:
        yield from (
            (module, call) for call, name in module.calls() if name in _LOADERS or name.endswith(".data.DataLoader")
        )


def _argument(call: ast.Call, name: str, position: int) -> ast.expr | None:
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value
    return call.args[position] if len(call.args) > position else None


def _has_stars(call: ast.Call) -> bool:
    return any(keyword.arg is None for keyword in call.keywords)
