"""Families of suspects: what each fact of an environment can affect, decided by its name. Pure."""

from __future__ import annotations

import re
from typing import Literal

from detctl_proto.security.variable_rules import names_a_secret

from detctl_coordinator.domain.manifest import NOT_SUSPECT

Family = Literal[
    "code",
    "folder",
    "library",
    "threads",
    "isa",
    "workers",
    "seed",
    "hash",
    "precision",
    "config",
    "listing",
    "hardware",
    "host",
]

# Variables of the shell, the launcher and the ranks. They differ from run to run and do not affect the numbers.
IRRELEVANT_VARIABLES = re.compile(
    r"^(_|PWD|OLDPWD|SHLVL|HOME|TMPDIR|TMP|TEMP|HOSTNAME|USER|LOGNAME|MAIL|PATH|TERM.*|COLORTERM|SSH_.*|XDG_.*|DBUS_.*"
    r"|LS_COLORS|EDITOR|PAGER|DETCTL_.*|PYTHONPATH|VIRTUAL_ENV.*|CONDA_.*|PS1|MASTER_(ADDR|PORT)|(LOCAL_|GROUP_|ROLE_)?RANK"
    r"|LOCAL_WORLD_SIZE|ROLE_.*|TORCHELASTIC_.*|PYTHONPYCACHEPREFIX|PYTHONUSERBASE|.*_CACHE_DIR|.*_HOME|INVOCATION_ID|JOURNAL_STREAM)$"
)
THREAD_VARIABLES = re.compile(r"^(OMP|MKL|OPENBLAS|NUMEXPR|VECLIB_MAXIMUM|GOTO|BLIS|TBB)_NUM_THREADS$|^OMP_DYNAMIC$")
ISA_VARIABLES = re.compile(
    r"^(ATEN_CPU_CAPABILITY|ONEDNN_MAX_CPU_ISA|DNNL_MAX_CPU_ISA|ONEDNN_CPU_ISA_HINTS|MKL_CBWR|MKL_ENABLE_INSTRUCTIONS"
    r"|MKL_DEBUG_CPU_TYPE|OPENBLAS_CORETYPE|NPY_DISABLE_CPU_FEATURES)$"
)
PRECISION = re.compile(r"tf32|fp16|bf16|bfloat16|precision|autocast|reduced", re.IGNORECASE)
KNOWN_VARIABLES = re.compile(
    r"^(TZ|LANG|LANGUAGE|LC_.*|CUBLAS_.*|CUDA_.*|CUDNN_.*|NCCL_.*|NVIDIA_.*|TORCH_.*|TORCHINDUCTOR_.*|PYTORCH_.*|GLOO_.*|KMP_.*"
    r"|GOMP_.*|MALLOC_.*|LD_PRELOAD|LD_LIBRARY_PATH|HF_.*|TRANSFORMERS_.*|TOKENIZERS_PARALLELISM|MKL_.*|OMP_.*|PYTHON[A-Z0-9]+)$"
)
WORKER_NAMES = re.compile(r"^(n_|num_|num|n|data_?|loader_?|dataloader_?)?_?(num_)?workers$", re.IGNORECASE)
THREAD_NAMES = re.compile(r"^(n_|num_|num|n|omp_|torch_)?_?threads$", re.IGNORECASE)
SEED_NAMES = re.compile(r"(^|_)seed$", re.IGNORECASE)
# Packages that compute or decode. Other packages are listed if their versions differ, but are not suspects.
COMPUTING = re.compile(
    r"^(torch.*|pytorch.*|numpy|scipy|pillow|pillow.simd|opencv.*|scikit.*|pandas|transformers|tokenizers|datasets|accelerate"
    r"|lightning.*|timm|triton.*|nvidia.*|cuda.*|mkl.*|intel.*|jax.*|tensorflow.*|albumentations|kornia|einops|safetensors"
    r"|webdataset|librosa|soundfile|av|decord|xformers|flash.attn|deepspeed|peft|sentencepiece|h5py|pyarrow|imageio)$",
    re.IGNORECASE,
)
HARDWARE_FACTS = re.compile(
    r"^machine\.(cpu_model|cpu_flags_digest|cores)$"
    r"|^gpu\.\d+\.(name|memory_bytes|board|ecc|mig|max_sm_clock_mhz|max_memory_clock_mhz|nvlinks)$"
)
HOST_FACTS = re.compile(r"^machine\.(os|os_version|kernel)$|^gpu\.\d+\.(driver|firmware|vbios|inforom)$")


def family_of(key: str, paths: set[str] | frozenset[str] = frozenset()) -> Family | None:
    """Returns what a fact of the manifest can affect, by its dotted key. None: it is not a suspect (docs/adr/0010)."""
    if any(key == name or (name[-1] in "._" and key.startswith(name)) for name in NOT_SUSPECT):
        return None
    section, _, rest = key.partition(".")
    if section == "variables":
        return family_of_variable(rest)
    if section == "recipe":
        return _recipe(rest, paths)
    if section == "python":
        package = rest.removeprefix("packages.")
        if rest.startswith("packages."):
            return "library" if COMPUTING.match(package.replace("_", "-")) else None
        return "library" if rest in ("version", "implementation") else None
    if section == "torch":
        if rest in ("threads", "interop_threads"):
            return "threads"
        if rest in ("cpu_capability", "mkldnn_isa"):
            return "isa"
        if rest in ("version", "cuda", "cudnn", "nccl") or rest.startswith("packages."):
            return "library"
        return "precision" if PRECISION.search(rest) else "config" if rest.startswith("flags.") else None
    if key in ("machine.libc",):
        return "library"
    if key == "machine.cpu_isa":
        return "isa"
    if HARDWARE_FACTS.match(key):
        return "hardware"
    if HOST_FACTS.match(key):
        return "host"
    return "config" if section == "locale" else None


def family_of_variable(name: str) -> Family | None:
    """Returns what a variable of the environment can affect. None: it is not a suspect."""
    if names_a_secret(name):
        return None
    if THREAD_VARIABLES.match(name):
        return "threads"
    if ISA_VARIABLES.match(name):
        return "isa"
    if name == "PYTHONHASHSEED":
        return "hash"
    if PRECISION.search(name):
        return "precision"
    if IRRELEVANT_VARIABLES.match(name) or not KNOWN_VARIABLES.match(name):
        return None
    return "config"


def _recipe(rest: str, paths: set[str] | frozenset[str]) -> Family | None:
    if rest in ("source_digest", "git_commit"):
        return "code"
    if rest.startswith("parameters."):
        name = rest.removeprefix("parameters.")
        return None if name in paths or names_a_secret(name) else family_of_parameter(name)
    return "config" if rest == "command" else None


def family_of_parameter(name: str) -> Family:
    """Returns what a parameter of a recipe can affect, by its name."""
    if WORKER_NAMES.match(name):
        return "workers"
    if THREAD_NAMES.match(name):
        return "threads"
    return "seed" if SEED_NAMES.search(name) else "config"
