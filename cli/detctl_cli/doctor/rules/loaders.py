"""Rules on the workers of DataLoaders: their seeds, and their number."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from detctl_proto.syntax.source.module import Module

from detctl_cli.doctor.finding import Finding
from detctl_cli.doctor.source import Program

_LOADERS = frozenset({"torch.utils.data.DataLoader", "torch.utils.data.dataloader.DataLoader", "DataLoader"})
_BY_MACHINE = frozenset(
    {"os.cpu_count", "multiprocessing.cpu_count", "psutil.cpu_count", "os.process_cpu_count", "os.sched_getaffinity"}
)
_WORKERS_POSITION = 5  # DataLoader(dataset, batch_size, shuffle, sampler, batch_sampler, num_workers, …)


def worker_seeding(program: Program) -> Iterator[Finding]:
    """Yields loaders with workers but without generator and worker_init_fn. It is an info if one is given or the number is computed."""
    for module, call in _loaders(program):
        workers = _argument(call, "num_workers", _WORKERS_POSITION)
        if workers is None or (isinstance(workers, ast.Constant) and not workers.value) or _has_stars(call):
            continue
        given = {keyword.arg for keyword in call.keywords} & {"generator", "worker_init_fn"}
        if len(given) == 2:
            continue
        missing = " and no ".join(sorted({"generator", "worker_init_fn"} - given))
        sure = isinstance(workers, ast.Constant) and not given
        yield Finding(
            "warn" if sure else "info", "worker-seeding", f"DataLoader with workers has no {missing}",
            "generators that a worker creates are unseeded, and its seed depends on earlier draws from torch",
            "DataLoader(…, generator=torch.Generator().manual_seed(SEED), worker_init_fn=seed_worker)",
            module.shown, call.lineno,
        )  # fmt: skip


def workers_by_machine(program: Program) -> Iterator[Finding]:
    """Yields loaders whose num_workers is the number of cores, so that random transforms differ between machines."""
    for module, call in _loaders(program):
        workers = _argument(call, "num_workers", _WORKERS_POSITION)
        if workers is None:
            continue
        inner = (module.dotted(node.func) for node in ast.walk(workers) if isinstance(node, ast.Call))
        if any(name in _BY_MACHINE for name in inner):
            yield Finding(
                "warn", "worker-count", "num_workers depends on the number of cores",
                "on a machine with another number of cores, other workers draw the random transforms", "set a fixed number",
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
