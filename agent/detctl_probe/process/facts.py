"""FACTS: what only the process itself knows. Reads modules that the training has imported, and imports none."""

from __future__ import annotations

import os
import posix
import sys
from typing import Any, Callable, Dict

PACKAGES_MAX = 2000
VARIABLES = ("CUBLAS_WORKSPACE_CONFIG", "PYTHONHASHSEED", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "ATEN_CPU_CAPABILITY")


def collect() -> Dict[str, Any]:
    """Returns JSON values; leaves out a fact that cannot be read. The first call takes milliseconds (versions of packages)."""
    facts: Dict[str, Any] = {
        "python": "%d.%d.%d" % sys.version_info[:3],
        # The flag of the interpreter is set for any seed but 0.
        "hash_randomization": os.environ.get("PYTHONHASHSEED") in (None, "", "random"),
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
        "packages": _packages(),
    }
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "get_num_threads"):
        facts.update(_torch(torch))
    return facts


def _torch(torch: Any) -> Dict[str, Any]:
    facts: Dict[str, Any] = {}
    flags: Dict[str, Any] = {}

    def read(into: Dict[str, Any], name: str, get: Callable[[], Any]) -> None:
        try:
            value = get()
            into[name] = value if isinstance(value, (bool, int, float, str, type(None))) else str(value)
        except Exception:
            return

    backends = torch.backends
    read(facts, "torch", lambda: str(torch.__version__))
    read(facts, "cuda", lambda: torch.version.cuda)
    if torch.version.cuda is not None and "torch.cuda" in sys.modules and torch.cuda.is_initialized():
        # Asking cuDNN loads it: 50 MB in a process that trains on the CPU and would never load it.
        read(facts, "cudnn", backends.cudnn.version)
    read(facts, "cpu_capability", backends.cpu.get_cpu_capability)
    read(facts, "mkldnn", backends.mkldnn.is_available)
    read(facts, "mkldnn_isa", lambda: os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA"))
    read(facts, "threads", torch.get_num_threads)
    read(facts, "interop_threads", torch.get_num_interop_threads)
    read(facts, "default_dtype", torch.get_default_dtype)
    read(flags, "deterministic_algorithms", torch.are_deterministic_algorithms_enabled)
    read(flags, "deterministic_warn_only", torch.is_deterministic_algorithms_warn_only_enabled)
    read(flags, "fill_uninitialized_memory", lambda: torch.utils.deterministic.fill_uninitialized_memory)
    read(flags, "cudnn_deterministic", lambda: backends.cudnn.deterministic)
    read(flags, "cudnn_benchmark", lambda: backends.cudnn.benchmark)
    read(flags, "cudnn_allow_tf32", lambda: backends.cudnn.allow_tf32)
    read(flags, "matmul_allow_tf32", lambda: backends.cuda.matmul.allow_tf32)
    read(flags, "float32_matmul_precision", torch.get_float32_matmul_precision)
    facts["flags"] = flags
    if "torch.cuda" in sys.modules and torch.cuda.is_initialized():
        read(
            facts, "gpus", lambda: ", ".join(torch.cuda.get_device_name(at) for at in range(torch.cuda.device_count()))
        )
    return facts


_known: Dict[str, str] = {}


def _packages() -> Dict[str, str]:
    """Name -> version of the packages on sys.path, read from the names of folders: importlib.metadata would import `email` and
    with it `random` into a program that may have neither."""
    if not _known:
        for entry in list(sys.path):
            try:
                names = posix.listdir(entry or ".")
            except OSError:
                continue
            for name in sorted(names):
                if name.endswith((".dist-info", ".egg-info")) and len(_known) < PACKAGES_MAX:
                    package, dash, version = name.rpartition(".")[0].partition("-")
                    if dash:
                        _known.setdefault(package.lower().replace("_", "-"), version.partition("-py")[0])
    return dict(_known)
