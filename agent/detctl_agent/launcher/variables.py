"""The variables of a training: what it gets, what it may be given from remote, and what never leaves (rulings 19)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

DEFAULT_PASS = ("CUDA_*", "NVIDIA_*", "LD_LIBRARY_PATH", "SSL_CERT_*")
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SECRET = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|KEY|CREDENTIAL", re.IGNORECASE)
# Contain KEY by chance and hold no secret.
_NOT_SECRET = frozenset(("DBUS_SESSION_BUS_ADDRESS", "TOKENIZERS_PARALLELISM", "XKB_KEYMAP"))

# Variations may set these from remote (security.md, row 2) and nothing else: variables are code execution.
REMOTE = frozenset(
    (
        "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "OMP_SCHEDULE",
        "OMP_DYNAMIC", "OMP_PROC_BIND", "OMP_PLACES", "KMP_AFFINITY", "KMP_BLOCKTIME", "MKL_DYNAMIC",
        "KMP_DETERMINISTIC_REDUCTION",
        "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ONEDNN_DEFAULT_FPMATH_MODE", "MKL_CBWR",
        "MKL_ENABLE_INSTRUCTIONS",
        "CUBLAS_WORKSPACE_CONFIG", "CUBLASLT_WORKSPACE_SIZE", "NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
        "CUDA_LAUNCH_BLOCKING", "CUDA_DEVICE_ORDER", "CUDNN_DETERMINISTIC", "TF32_OVERRIDE",
        "NCCL_ALGO", "NCCL_PROTO", "NCCL_MIN_NCHANNELS", "NCCL_MAX_NCHANNELS", "NCCL_NVLS_ENABLE",
        "PYTHONHASHSEED", "PYTHONUTF8", "PYTHONIOENCODING", "LANG", "LC_ALL", "LC_NUMERIC", "LC_COLLATE", "LC_CTYPE", "TZ",
        "TOKENIZERS_PARALLELISM", "TORCH_COMPILE_DISABLE", "TORCHDYNAMO_DISABLE",
    )
)  # fmt: skip
REMOTE_VALUE = re.compile(r"[A-Za-z0-9._:/=+,@-]{0,128}", re.ASCII)


def is_secret(name: str) -> bool:
    """Whether a variable's value is never stored, shown or handed to a training."""
    return name not in _NOT_SECRET and _SECRET.search(name) is not None


def without_secrets(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables less the secret ones."""
    return {name: value for name, value in variables.items() if not is_secret(name)}


def inherited(caller: Mapping[str, str]) -> dict[str, str]:
    """The caller's environment less detctl's own variables and secrets: for `-- COMMAND`."""
    return {name: value for name, value in without_secrets(caller).items() if not name.startswith("DETCTL_")}


def taken_over(caller: Mapping[str, str]) -> dict[str, str]:
    """A training's variables where they begin with the caller's own: a PATH in any case, and nothing that it printed is lost."""
    return {"PATH": SYSTEM_PATH, "PYTHONUNBUFFERED": "1", **inherited(caller)}


def passed(agent: Mapping[str, str], patterns: Iterable[str], always: Iterable[str] = DEFAULT_PASS) -> dict[str, str]:
    """What a clean environment takes over from the agent: the patterns of the recipe, and what is `always` taken."""
    allowed = (*always, *patterns)
    return {
        name: value
        for name, value in inherited(agent).items()
        if any(fnmatchcase(name, pattern) for pattern in allowed)
    }


def remote_problem(name: str, value: str) -> str:
    """Empty where a variation from remote may set it, else why not, in one line."""
    if name not in REMOTE:
        return f"variable {name} may not be set from remote (allowed: {', '.join(sorted(REMOTE))})"
    if not REMOTE_VALUE.fullmatch(value):
        return f"variable {name}: its value may hold A-Z a-z 0-9 . _ : / = + , @ - and 128 characters at most"
    return ""


def prepend(variables: dict[str, str], name: str, folder: str) -> None:
    """Puts a folder first in a list of folders; what was there stays behind it."""
    before = variables.get(name)
    variables[name] = f"{folder}:{before}" if before else folder
