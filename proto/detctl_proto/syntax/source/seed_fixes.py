"""Gives a constant seed to what makes or seeds a generator. Pure."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from detctl_proto.syntax.source.bindings import last_name
from detctl_proto.syntax.source.edits import Edit
from detctl_proto.syntax.source.module import Module
from detctl_proto.syntax.source.sets import Sets
from detctl_proto.syntax.source.statements import own_nodes, statement_at

_MAKES_GENERATOR = {
    "numpy.random.default_rng": "", "random.Random": "", "numpy.random.RandomState": "", "numpy.random.SeedSequence": "",
}  # fmt: skip
_RANDOM_STATE = frozenset(
    {
        "train_test_split", "KFold", "StratifiedKFold", "ShuffleSplit", "StratifiedShuffleSplit", "GroupShuffleSplit", "shuffle",
        "resample", "RandomForestClassifier", "RandomForestRegressor", "KMeans", "sample",
    }
)  # fmt: skip
_SEEDINGS = frozenset(
    {
        "random.seed", "numpy.random.seed", "torch.manual_seed", "torch.cuda.manual_seed", "torch.cuda.manual_seed_all",
        "torch.random.manual_seed", *_MAKES_GENERATOR,
    }
)  # fmt: skip


def seeded_generators(sets: Sets, module: Module, line: int) -> Iterator[Edit]:
    """Gives a seed to the call that makes a generator, or that takes a random_state."""
    statement = statement_at(module, line)
    if statement is None:
        return
    for node in own_nodes(statement):
        if not isinstance(node, ast.Call):
            continue
        name = module.dotted(node.func)
        short = name.rpartition(".")[2] or last_name(node.func)
        given = {keyword.arg for keyword in node.keywords}
        if None in given:
            continue
        seed = _seed_name(sets, module, node)
        if name in _MAKES_GENERATOR and not _has_seed(node):
            yield Edit(node, f"{ast.unparse(node.func)}({seed})")
            return
        if name == "torch.Generator" and not _seeded_on(module, node):
            yield Edit(node, f"{{}}.manual_seed({seed})")
            return
        if name.rpartition(".")[2] == "random_split" and "generator" not in given and len(node.args) == 2:
            made = "Generator" if module.aliases.get("Generator") == "torch.Generator" else "torch.Generator"
            if made != "torch.Generator" or module.aliases.get("torch") == "torch":
                yield Edit(node, _with_argument(node, f"generator={made}().manual_seed({seed})"))
                return
        if short in _RANDOM_STATE and "random_state" not in given and _takes_random_state(module, name, node):
            yield Edit(node, _with_argument(node, f"random_state={seed}"))
            return


def _takes_random_state(module: Module, name: str, node: ast.Call) -> bool:
    if name.startswith("sklearn."):
        return True
    return (
        isinstance(node.func, ast.Attribute)
        and node.func.attr == "sample"
        and any(k.arg == "frac" for k in node.keywords)
    )


def _varying_part(node: ast.expr) -> ast.expr:
    """Returns the only branch of `f() if seed is None else seed`, or of `seed or f()`, that holds a call; else the whole."""
    parts: list[ast.expr] = []
    if isinstance(node, ast.IfExp):
        parts = [node.body, node.orelse]
    elif isinstance(node, ast.BoolOp):
        parts = node.values
    calling = [part for part in parts if _has_call(part)]
    return calling[0] if len(calling) == 1 else node


def constant_seeds(sets: Sets, module: Module, line: int) -> Iterator[Edit]:
    """Replaces what a seeding call takes from the clock, the process, the host or a path."""
    statement = statement_at(module, line)
    for node in own_nodes(statement) if statement is not None else ():
        if not isinstance(node, ast.Call):
            continue
        name = module.dotted(node.func)
        method = isinstance(node.func, ast.Attribute) and node.func.attr == "manual_seed"
        if (name in _SEEDINGS or method) and len(node.args) + len(node.keywords) <= 1:
            given = node.args[0] if node.args else node.keywords[0].value if node.keywords else None
            if given is None or _has_call(given) or (isinstance(given, ast.Constant) and given.value is None):
                yield Edit(node, f"{ast.unparse(node.func)}({_seed_name(sets, module, node, avoid=given)})")
                return
            # seed = int(time.time()); torch.manual_seed(seed)
            bindings = sets.bindings(module)
            values = bindings.values.get((bindings.scope(node), given.id), []) if isinstance(given, ast.Name) else []
            if len(values) == 1 and _has_call(values[0]):
                yield Edit(_varying_part(values[0]), "0")
                return


def _has_call(node: ast.expr) -> bool:
    return any(isinstance(inner, ast.Call) for inner in ast.walk(node))


def _with_argument(node: ast.Call, text: str) -> str:
    given = [ast.unparse(one) for one in node.args] + [ast.unparse(one) for one in node.keywords]
    return f"{ast.unparse(node.func)}({', '.join([*given, text])})"


def _has_seed(node: ast.Call) -> bool:
    values = [*node.args, *(keyword.value for keyword in node.keywords)]
    return any(not (isinstance(value, ast.Constant) and value.value is None) for value in values)


def _seeded_on(module: Module, node: ast.Call) -> bool:
    parent = module.parents.get(node)
    return isinstance(parent, ast.Attribute) and parent.attr in ("manual_seed", "set_state")


def _seed_name(sets: Sets, module: Module, node: ast.AST, avoid: ast.expr | None = None) -> str:
    """Returns the name of a constant seed that is in scope there, else 0."""
    avoided = {last_name(one) for one in ast.walk(avoid)} if avoid is not None else set()
    for statement in module.tree.body:
        if (
            isinstance(statement, ast.Assign)
            and statement.lineno < getattr(node, "lineno", 0)
            and _is_whole(statement.value)
        ):
            for target in statement.targets:
                if isinstance(target, ast.Name) and "seed" in target.id.lower() and target.id not in avoided:
                    return target.id
    return "0"


def _is_whole(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int) and not isinstance(node.value, bool)
