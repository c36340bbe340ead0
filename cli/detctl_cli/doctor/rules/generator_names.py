"""Names of functions that draw random numbers, seed generators or create them."""

from __future__ import annotations

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
DRAWS = {
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
# Draw from numpy's generator if random_state is not given.
OF_NUMPY = frozenset(
    "sklearn." + name
    for name in [
        "model_selection.train_test_split",
        "model_selection.ShuffleSplit",
        "model_selection.StratifiedShuffleSplit",
        "utils.resample",
        "utils.shuffle",
    ]
)
# Create their own generator from the system's entropy if this keyword is not given.
OWN_GENERATOR = {
    "albumentations.Compose": "seed",
    "optuna.create_study": "sampler",
    "optuna.samplers.TPESampler": "seed",
    "optuna.samplers.RandomSampler": "seed",
    "optuna.samplers.CmaEsSampler": "seed",
}
SEEDS = {
    "random": frozenset({"random.seed", "random.setstate"}),
    "numpy": frozenset({"numpy.random.seed", "numpy.random.set_state"}),
    "torch": frozenset(
        {"torch.manual_seed", "torch.random.manual_seed", "torch.set_rng_state", "torch.random.fork_rng"}
    ),
}
FIX = {"random": "random.seed(SEED)", "numpy": "numpy.random.seed(SEED)", "torch": "torch.manual_seed(SEED)"}
FACTORIES = frozenset(
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
NEVER_SEEDED = {
    "random.SystemRandom": "draws from the operating system",
    "os.urandom": "draws from the operating system",
    "secrets.token_bytes": "draws from the operating system",
    "secrets.randbelow": "draws from the operating system",
    "secrets.choice": "draws from the operating system",
    "torch.seed": "seeds with a number that differs from run to run",
    "torch.random.seed": "seeds with a number that differs from run to run",
}
