"""Rules on random generators that are not seeded."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from detctl_proto.syntax.source.module import Module

from detctl_cli.doctor.finding import Finding
from detctl_cli.doctor.rules.generator_names import (
    DRAWS,
    FACTORIES,
    FIX,
    NEVER_SEEDED,
    OF_NUMPY,
    OWN_GENERATOR,
    SEED_ALL,
    SEEDS,
)
from detctl_cli.doctor.source import Program


def unseeded_modules(program: Program) -> Iterator[Finding]:
    """Yields uses of random, numpy.random and torch in a program that does not seed them."""
    if program.called & SEED_ALL:
        return
    for library, draws in DRAWS.items():
        if program.called & SEEDS[library]:
            continue
        uses = [
            (module, call, name)
            for module in program.modules
            for call, name in module.calls()
            if name in draws or (library == "numpy" and name in OF_NUMPY and not _given(call, "random_state"))
        ]
        if uses:
            module, call, name = uses[0]
            more = f", and {len(uses) - 1} more such calls" if len(uses) > 1 else ""
            yield Finding(
                "warn", "unseeded-rng", f"{name}() draws random numbers{more}, and {library} is never seeded",
                "every run draws different numbers", f"{FIX[library]} before the first draw", module.shown, call.lineno,
            )  # fmt: skip
        elif library == "torch" and (found := _builds_models(program)):
            module, line = found
            yield Finding(
                "warn", "unseeded-rng", "torch is never seeded", "weights are initialised and batches shuffled at random",
                "torch.manual_seed(SEED), or detctl_probe.set_deterministic(SEED), first", module.shown, line,
            )  # fmt: skip


def unseeded_generators(program: Program) -> Iterator[Finding]:
    """Yields private generators that are created without a seed."""
    for module in program.modules:
        for call, name in module.calls():
            if name in NEVER_SEEDED:
                yield Finding(
                    "warn",
                    "unseeded-rng",
                    f"{name}()",
                    NEVER_SEEDED[name],
                    "use a seeded generator",
                    module.shown,
                    call.lineno,
                )
            elif name in FACTORIES and _no_seed(call):
                yield Finding(
                    "warn", "unseeded-rng", f"{name}() without a seed", "it creates a generator that no global seed affects",
                    f"{name}(SEED)", module.shown, call.lineno,
                )  # fmt: skip
            elif (keyword := OWN_GENERATOR.get(name)) and not _given(call, keyword):
                yield Finding(
                    "warn", "unseeded-rng", f"{name}() without {keyword}=", "it creates a generator that no global seed affects",
                    f"{name}(…, {keyword}=…)", module.shown, call.lineno,
                )  # fmt: skip
            elif name == "torch.Generator" and not _seeded_later(module, call):
                yield Finding(
                    "warn", "unseeded-rng", "torch.Generator() is never seeded", "torch.manual_seed does not affect it",
                    "torch.Generator().manual_seed(SEED)", module.shown, call.lineno,
                )  # fmt: skip


def _no_seed(call: ast.Call) -> bool:
    values = [*call.args, *(keyword.value for keyword in call.keywords)]
    return not values or (len(values) == 1 and isinstance(values[0], ast.Constant) and values[0].value is None)


def _given(call: ast.Call, keyword: str) -> bool:
    """Returns whether a keyword is given, or may be given by **."""
    return any(one.arg in (keyword, None) for one in call.keywords)


def _seeded_later(module: Module, call: ast.Call) -> bool:
    """Returns whether a generator is seeded: directly, or through its name or attribute anywhere in the file."""
    parent = module.parents.get(call)
    if isinstance(parent, ast.Attribute):
        return parent.attr in ("manual_seed", "set_state")
    if isinstance(parent, ast.NamedExpr):
        targets: list[ast.expr] = [parent.target]
    elif isinstance(parent, ast.Assign):
        targets = parent.targets
    elif isinstance(parent, ast.AnnAssign):
        targets = [parent.target]
    else:
        return False
    return any(
        isinstance(node, ast.Attribute)
        and node.attr in ("manual_seed", "set_state")
        and any(module.same(node.value, target) for target in targets)
        for node in ast.walk(module.tree)
    )


def _builds_models(program: Program) -> tuple[Module, int] | None:
    for module in program.modules:
        if line := module.imports("torch"):
            used = (name.startswith(("torch.nn.", "torch.optim.", "torch.utils.data.")) for _, name in module.calls())
            if any(used):
                return module, line
    return None
