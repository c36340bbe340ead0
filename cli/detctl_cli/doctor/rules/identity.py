"""Rule on seeds from the clock, the process, the host or an address, which differ between runs or machines."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from detctl_proto.syntax.source.module import Module

from detctl_cli.doctor.finding import Finding
from detctl_cli.doctor.source import Program

_SEEDING = frozenset(
    {
        "random.seed", "random.Random", "numpy.random.seed", "numpy.random.default_rng", "numpy.random.RandomState",
        "numpy.random.SeedSequence", "torch.manual_seed", "torch.random.manual_seed", "torch.cuda.manual_seed",
        "torch.cuda.manual_seed_all", "lightning.seed_everything", "pytorch_lightning.seed_everything",
        "lightning.pytorch.seed_everything", "transformers.set_seed", "accelerate.utils.set_seed",
    }
)  # fmt: skip
_SOURCES = {
    "time.time": "the clock", "time.time_ns": "the clock", "time.monotonic": "the clock", "time.perf_counter": "the clock",
    "time.perf_counter_ns": "the clock", "datetime.datetime.now": "the clock", "datetime.datetime.utcnow": "the clock",
    "datetime.datetime.today": "the clock", "os.getpid": "the process id", "os.getppid": "the process id",
    "socket.gethostname": "the host's name", "platform.node": "the host's name", "os.uname": "the host's name",
    "uuid.uuid4": "a random uuid", "uuid.uuid1": "the host and the clock", "uuid.getnode": "the host", "id": "an address",
    "os.urandom": "the operating system", "hash": "hash(), which differs by PYTHONHASHSEED", "os.getcwd": "the working folder",
}  # fmt: skip


def identity_seeds(program: Program) -> Iterator[Finding]:
    """Yields seeding calls whose argument comes from such a source, directly or through a variable, and calls of seed()."""
    for module in program.modules:
        tainted = _tainted_names(module)
        for call, name in module.calls():
            method = isinstance(call.func, ast.Attribute) and call.func.attr == "manual_seed"
            if name not in _SEEDING and not method:
                continue
            values = [*call.args, *(keyword.value for keyword in call.keywords)]
            shown = name or "manual_seed"
            if name in ("random.seed", "numpy.random.seed") and not values:
                yield Finding(
                    "warn", "identity-seed", f"{shown}() without a number", "it takes a random seed from the operating system",
                    f"{shown}(SEED)", module.shown, call.lineno,
                )  # fmt: skip
                continue
            source = next(filter(None, (_source_in(module, value, tainted) for value in values)), "")
            if source:
                yield Finding(
                    "warn", "identity-seed", f"{shown}() is seeded from {source}", "runs or machines get different seeds",
                    "seed with a number that is the same everywhere", module.shown, call.lineno,
                )  # fmt: skip


def _source_in(module: Module, node: ast.AST, tainted: dict[str, str]) -> str:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Call) and (source := _SOURCES.get(module.dotted(inner.func))):
            if module.dotted(inner.func) == "hash" and inner.args and _is_number(inner.args[0]):
                continue
            return source
        if isinstance(inner, ast.Name) and inner.id in tainted:
            return tainted[inner.id]
    return ""


def _tainted_names(module: Module) -> dict[str, str]:
    """Returns names that are assigned from such a source at least once, with the source."""
    found: dict[str, str] = {}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Assign):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
            value: ast.AST | None = node.value
        elif isinstance(node, (ast.AnnAssign, ast.NamedExpr)) and isinstance(node.target, ast.Name):
            names, value = [node.target.id], node.value
        else:
            continue
        if not any("seed" in name.lower() for name in names) or value is None:
            continue  # `start = time.time()` is a stopwatch
        if source := _source_in(module, value, {}):
            found.update(dict.fromkeys(names, source))
    return found


def _is_number(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, (int, float))
