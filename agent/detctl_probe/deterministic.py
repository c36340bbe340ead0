"""set_deterministic: what people copy into their training scripts, correct for the torch that is installed."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from typing import Any, Callable, List, NamedTuple, Optional

CUBLAS_VARIABLE = "CUBLAS_WORKSPACE_CONFIG"
CUBLAS_VALUE = ":4096:8"


class Deterministic(NamedTuple):
    """worker_init_fn and generator: for DataLoader(worker_init_fn=…, generator=…); generator is None without torch. not_set: what this call
    could not do, a line each."""

    worker_init_fn: Callable[[int], None]
    generator: Any
    not_set: List[str]


def set_deterministic(seed: int, *, warn_only: bool = False) -> Deterministic:
    """Seeds random, numpy and torch (CUDA too) where they are installed, and switches torch to deterministic algorithms.

    seed: 0 <= seed < 2**32, numpy's range. warn_only: operations without a deterministic form warn instead of raising RuntimeError.
    Call it before the first CUDA operation and before any DataLoader is made:

        fixed = set_deterministic(0)
        loader = DataLoader(data, shuffle=True, worker_init_fn=fixed.worker_init_fn, generator=fixed.generator)

    Raises ValueError for a seed out of range. Every item of `not_set` goes to stderr too.
    """
    if not 0 <= seed < 2**32:
        raise ValueError("seed is %r; it must be at least 0 and below 2**32 (numpy takes no other)" % (seed,))
    not_set: List[str] = []
    import random

    random.seed(seed)
    if "numpy" in sys.modules or find_spec("numpy") is not None:
        import numpy

        numpy.random.seed(seed)
    generator = _torch(seed, warn_only, not_set) if find_spec("torch") is not None else None
    if os.environ.get("PYTHONHASHSEED", "random") == "random":
        not_set.append("PYTHONHASHSEED is read when Python starts: run PYTHONHASHSEED=%d python … instead" % seed)
    for line in not_set:
        print("set_deterministic: %s" % line, file=sys.stderr)
    return Deterministic(_seed_worker, generator, not_set)


def _torch(seed: int, warn_only: bool, not_set: List[str]) -> Any:
    # cuBLAS reads this when its first handle is made; without it deterministic algorithms raise on CUDA >= 10.2.
    if os.environ.get(CUBLAS_VARIABLE) not in (":4096:8", ":16:8"):
        os.environ[CUBLAS_VARIABLE] = CUBLAS_VALUE
        torch_before: Optional[Any] = sys.modules.get("torch")
        if torch_before is not None and torch_before.cuda.is_initialized():
            not_set.append("%s was set after CUDA started: set it before Python starts" % CUBLAS_VARIABLE)
    import torch

    torch.manual_seed(seed)  # CUDA devices too, now or when they start
    torch.use_deterministic_algorithms(True, warn_only=warn_only)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    generator = torch.Generator()
    generator.manual_seed(seed)
    return generator


def _seed_worker(worker_id: int) -> None:
    """Seeds random and numpy in a DataLoader worker from torch's seed there, which is base seed + worker id."""
    import torch

    worker_seed = torch.initial_seed() % 2**32
    import random

    random.seed(worker_seed)
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed(worker_seed)
