"""Rules for environment variables and for names: which a request may set, which a training never gets, and whose values a recording
may hold. Standard library alone.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

# Variations may set these from remote and nothing else: a variable can be code (LD_PRELOAD, PYTHONPATH; docs/security.md 2). These
# are switches that change arithmetic, order or locale. The agent checks again: it does not trust the coordinator.
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

# A recording holds the value of these: they can change numbers, their order, or which code runs. Families of variables that hold
# credentials too (HF_*, SLURM_*, WANDB_*) are named one by one. Any other is recorded by its name and a keyed digest.
RECORDED = (
    "CUDA_*", "NVIDIA_*", "NCCL_*", "GLOO_*", "UCX_*", "CUBLAS*", "CUDNN*", "TF32_*", "TORCH*", "PYTORCH_*", "TRITON_*", "NVTE_*",
    "HIP_*", "HSA_*", "ROCM_*", "ROCR_*", "MIOPEN_*", "HIPBLASLT_*", "XLA_*",
    "OMP_*", "GOMP_*", "KMP_*", "MKL_*", "OPENBLAS_*", "GOTO_NUM_THREADS", "BLIS_*", "VECLIB_*", "NUMEXPR_*", "TBB_*",
    "ONEDNN_*", "DNNL_*", "ATEN_*", "NPY_*", "MALLOC_*", "GLIBC_TUNABLES",
    "PYTHON*", "LANG", "LANGUAGE", "LC_*", "TZ", "PATH", "LD_LIBRARY_PATH", "LD_PRELOAD",
    "TF_DETERMINISTIC_OPS", "TF_CUDNN_DETERMINISTIC", "TF_ENABLE_ONEDNN_OPTS",
    "TOKENIZERS_PARALLELISM", "HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_DATASETS_IN_MEMORY_MAX_SIZE", "HF_HUB_ENABLE_HF_TRANSFER",
    "TRANSFORMERS_OFFLINE", "ACCELERATE_MIXED_PRECISION", "ACCELERATE_DYNAMO_BACKEND", "ACCELERATE_USE_*",
    "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "NODE_RANK", "ROLE_RANK", "ROLE_WORLD_SIZE",
    "MASTER_ADDR", "MASTER_PORT",
    "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK", "PMI_RANK", "PMI_SIZE",
    "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_NTASKS", "SLURM_NNODES", "SLURM_JOB_NUM_NODES", "SLURM_NTASKS_PER_NODE",
    "SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE", "SLURM_CPU_BIND_TYPE", "SLURM_GPUS_ON_NODE", "SLURM_JOB_GPUS",
)  # fmt: skip

_WITHHELD = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|KEY|CREDENTIAL", re.IGNORECASE)
# Contain KEY or TOKEN by chance and hold no secret.
_NO_SECRET = frozenset(("DBUS_SESSION_BUS_ADDRESS", "TOKENIZERS_PARALLELISM", "XKB_KEYMAP"))

_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_FRAGMENT = re.compile(
    r"password|passwd|passphrase|passcode|secret|credential|webhook|apikey|authkey|privatekey|accesskey|storagekey|signingkey"
)
_LAST_PARTS = frozenset(
    ("pass", "pwd", "pw", "auth", "authorization", "bearer", "cookie", "cookies", "jwt", "dsn", "sas")
)
# Before `token` and `key`: terms of machine learning and of tables, which make the name harmless.
_TOKENS = frozenset(
    (
        "pad", "eos", "bos", "unk", "mask", "sep", "cls", "special", "start", "end", "stop", "begin", "image", "audio", "video",
        "trigger", "placeholder", "decoder", "per", "each", "next", "last", "first", "new", "prompt", "text", "word", "sub", "byte",
        "additional", "extra", "target", "vocab", "by", "every", "single",
    )
)  # fmt: skip
_KEYS = frozenset(
    (
        "sort", "label", "image", "text", "data", "column", "group", "dict", "target", "input", "output", "feature", "prompt", "answer",
        "question", "batch", "sample", "metric", "monitor", "map", "primary", "foreign", "cache", "index", "row", "id", "partition",
        "loss", "lr", "config", "state", "query", "value", "caption", "video", "audio", "mask", "name", "hot", "public", "pub", "layer",
        "step", "field", "json", "order", "rank", "color", "colour", "by", "num", "max", "min",
    )
)  # fmt: skip
_SURE_KEYS = frozenset(
    ("api", "access", "private", "secret", "account", "auth", "encryption", "signing", "license", "ssh", "storage")
)


def is_withheld(name: str) -> bool:
    """Whether a training never gets a variable of this name."""
    return name not in _NO_SECRET and _WITHHELD.search(name) is not None


def has_recorded_value(name: str) -> bool:
    """Whether a recording holds the value of this variable, unless it is a credential; of others only if the training reads them."""
    return any(fnmatchcase(name, pattern) for pattern in RECORDED)


def names_a_secret(name: str) -> bool:
    """Whether a variable, a parameter or an option of this name holds a credential: `HF_TOKEN`, `--db-password`, `apiKey`.

    `max_tokens`, `pad_token`, `tokenizer` and `sort_key` do not."""
    if name in _NO_SECRET:
        return False
    parts = [part.lower() for part in _PART.findall(name[:200])]
    while parts and parts[-1].isdigit():  # PASSWORD_2
        parts.pop()
    if not parts:
        return False
    if _FRAGMENT.search("".join(parts)):
        return True
    last, before = parts[-1], parts[-2] if len(parts) > 1 else ""
    if last in _LAST_PARTS:
        return True
    if last.endswith("token"):
        return last != "token" or before not in _TOKENS
    return last == "key" and before not in _KEYS


def surely_names_a_secret(name: str) -> bool:
    """As names_a_secret, for names in running text, in which a lone `key=` or `auth:` can mean anything."""
    parts = [part.lower() for part in _PART.findall(name[:200])]
    if not parts or not names_a_secret(name):
        return False
    return parts[-1] not in ("key", "auth", "pass", "pw") or (len(parts) > 1 and parts[-2] in _SURE_KEYS)


def remote_problem(name: str, value: str) -> str:
    """Empty if a request may set the variable to this value, else the reason in one line."""
    if name not in REMOTE:
        return f"variable {name} may not be set from remote (allowed: {', '.join(sorted(REMOTE))})"
    if not REMOTE_VALUE.fullmatch(value):
        return f"variable {name}: its value may hold A-Z a-z 0-9 . _ : / = + , @ - and 128 characters at most"
    return ""
