"""Random generators that no seed reaches."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from detctl_cli.doctor.finding import Finding
from detctl_cli.doctor.source import Module, Program

# Seed random, numpy and torch together.
SEED_ALL = frozenset(
    {
        "detctl_probe.set_deterministic",
        "lightning.seed_everything",
        "lightning.pytorch.seed_everything",
        "lightning.fabric.seed_everything",
        "pytorch_lightning.seed_everything",
        "pytorch_lightning.utilities.seed.seed_everything",
        "transformers.set_seed",
        "transformers.enable_full_determinism",
        "transformers.trainer_utils.set_seed",
        "accelerate.utils.set_seed",
        "accelerate.utils.random.set_seed",
        "monai.utils.set_determinism",
        "ignite.utils.manual_seed",
        "mmengine.runner.set_random_seed",
        "mmengine.runner.utils.set_random_seed",
        "fastai.torch_core.set_seed",
    }
)
_DRAWS = {
    "random": frozenset(
        [
            "random.random",
            "random.randint",
            "random.randrange",
            "random.shuffle",
            "random.choice",
            "random.choices",
            "random.sample",
            "random.uniform",
            "random.gauss",
            "random.normalvariate",
            "random.getrandbits",
            "random.betavariate",
            "random.triangular",
        ]
    ),
    "numpy": frozenset(
        "numpy.random." + name
        for name in [
            "rand",
            "randn",
            "randint",
            "random",
            "random_sample",
            "choice",
            "shuffle",
            "permutation",
            "normal",
            "uniform",
            "beta",
            "binomial",
            "poisson",
            "exponential",
            "gamma",
            "standard_normal",
        ]
    ),
    "torch": frozenset(
        "torch." + name
        for name in [
            "rand",
            "randn",
            "randint",
            "randperm",
            "rand_like",
            "randn_like",
            "bernoulli",
            "multinomial",
            "normal",
        ]
    ),
}
# Draw from numpy's generator where random_state is not given.
_OF_NUMPY = frozenset(
    "sklearn." + name
    for name in [
        "model_selection.train_test_split",
        "model_selection.ShuffleSplit",
        "model_selection.StratifiedShuffleSplit",
        "utils.resample",
        "utils.shuffle",
    ]
)
# Make a generator of their own, from the system's entropy, where this keyword is not given.
_OWN_GENERATOR = {
    "albumentations.Compose": "seed",
    "optuna.create_study": "sampler",
    "optuna.samplers.TPESampler": "seed",
    "optuna.samplers.RandomSampler": "seed",
    "optuna.samplers.CmaEsSampler": "seed",
}
_SEEDS = {
    "random": frozenset({"random.seed", "random.setstate"}),
    "numpy": frozenset({"numpy.random.seed", "numpy.random.set_state"}),
    "torch": frozenset(
        {"torch.manual_seed", "torch.random.manual_seed", "torch.set_rng_state", "torch.random.fork_rng"}
    ),
}
_FIX = {"random": "random.seed(SEED)", "numpy": "numpy.random.seed(SEED)", "torch": "torch.manual_seed(SEED)"}
_FACTORIES = frozenset(
    {
        "numpy.random.default_rng",
        "numpy.random.RandomState",
        "numpy.random.PCG64",
        "numpy.random.MT19937",
        "numpy.random.Philox",
        "numpy.random.SeedSequence",
        "random.Random",
    }
)
_NEVER_SEEDED = {
    "random.SystemRandom": "draws from the operating system",
    "os.urandom": "draws from the operating system",
    "secrets.token_bytes": "draws from the operating system",
    "secrets.randbelow": "draws from the operating system",
    "secrets.choice": "draws from the operating system",
    "torch.seed": "seeds with a number that differs from run to run",
    "torch.random.seed": "seeds with a number that differs from run to run",
}


def unseeded_modules(program: Program) -> Iterator[Finding]:
    """random, numpy.random and torch drawn from while nothing in the program seeds them."""
    if program.called & SEED_ALL:
        return
    for library, draws in _DRAWS.items():
        if program.called & _SEEDS[library]:
            continue
        uses = [
            (module, call, name)
            for module in program.modules
            for call, name in module.calls()
            if name in draws or (library == "numpy" and name in _OF_NUMPY and not _given(call, "random_state"))
        ]
        if uses:
            module, call, name = uses[0]
            more = f", and {len(uses) - 1} more such calls" if len(uses) > 1 else ""
            yield Finding(
                "warn", "unseeded-rng", f"{name}() is drawn from{more}, and {library} is never seeded",
                "every run draws other numbers", f"{_FIX[library]} before the first draw", module.shown, call.lineno,
            )  # fmt: skip
        elif library == "torch" and (found := _builds_models(program)):
            module, line = found
            yield Finding(
                "warn", "unseeded-rng", "torch is never seeded", "weights are initialised and batches shuffled at random",
                "torch.manual_seed(SEED), or detctl_probe.set_deterministic(SEED), first", module.shown, line,
            )  # fmt: skip


def unseeded_generators(program: Program) -> Iterator[Finding]:
    """Private generators made without a seed."""
    for module in program.modules:
        for call, name in module.calls():
            if name in _NEVER_SEEDED:
                yield Finding(
                    "warn",
                    "unseeded-rng",
                    f"{name}()",
                    _NEVER_SEEDED[name],
                    "use a seeded generator",
                    module.shown,
                    call.lineno,
                )
            elif name in _FACTORIES and _no_seed(call):
                yield Finding(
                    "warn", "unseeded-rng", f"{name}() without a seed", "a private generator that no global seed reaches",
                    f"{name}(SEED)", module.shown, call.lineno,
                )  # fmt: skip
            elif (keyword := _OWN_GENERATOR.get(name)) and not _given(call, keyword):
                yield Finding(
                    "warn", "unseeded-rng", f"{name}() without {keyword}=", "it makes a generator of its own, which no global seed reaches",
                    f"{name}(…, {keyword}=…)", module.shown, call.lineno,
                )  # fmt: skip
            elif name == "torch.Generator" and not _seeded_later(module, call):
                yield Finding(
                    "warn", "unseeded-rng", "torch.Generator() is never seeded", "torch.manual_seed does not reach it",
                    "torch.Generator().manual_seed(SEED)", module.shown, call.lineno,
                )  # fmt: skip


def _no_seed(call: ast.Call) -> bool:
    values = [*call.args, *(keyword.value for keyword in call.keywords)]
    return not values or (len(values) == 1 and isinstance(values[0], ast.Constant) and values[0].value is None)


def _given(call: ast.Call, keyword: str) -> bool:
    """Whether a keyword is given, by itself or maybe by **."""
    return any(one.arg in (keyword, None) for one in call.keywords)


def _seeded_later(module: Module, call: ast.Call) -> bool:
    """torch.Generator().manual_seed(…), or a name or attribute that gets manual_seed or set_state somewhere in the file."""
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
