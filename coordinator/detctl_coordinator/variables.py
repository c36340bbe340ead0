"""Variables that may be set from remote, and the shape of their values.

A variable can be code (LD_PRELOAD, PYTHONPATH), so this is an allow-list of switches that change arithmetic, order or
locale and nothing else. The agent checks again with its own list: the coordinator is not the one to be believed.
"""

from __future__ import annotations

import re

ALLOWED = frozenset(
    {
        "ATEN_CPU_CAPABILITY",
        "CUBLASLT_WORKSPACE_SIZE",
        "CUBLAS_WORKSPACE_CONFIG",
        "CUDA_DEVICE_ORDER",
        "CUDA_LAUNCH_BLOCKING",
        "CUDNN_DETERMINISTIC",
        "DNNL_MAX_CPU_ISA",
        "KMP_AFFINITY",
        "KMP_BLOCKTIME",
        "KMP_DETERMINISTIC_REDUCTION",
        "LANG",
        "LC_ALL",
        "LC_COLLATE",
        "LC_CTYPE",
        "LC_NUMERIC",
        "MKL_CBWR",
        "MKL_DYNAMIC",
        "MKL_ENABLE_INSTRUCTIONS",
        "MKL_NUM_THREADS",
        "NCCL_ALGO",
        "NCCL_MAX_NCHANNELS",
        "NCCL_MIN_NCHANNELS",
        "NCCL_NVLS_ENABLE",
        "NCCL_PROTO",
        "NUMEXPR_NUM_THREADS",
        "NVIDIA_TF32_OVERRIDE",
        "OMP_DYNAMIC",
        "OMP_NUM_THREADS",
        "OMP_PLACES",
        "OMP_PROC_BIND",
        "OMP_SCHEDULE",
        "ONEDNN_DEFAULT_FPMATH_MODE",
        "ONEDNN_MAX_CPU_ISA",
        "OPENBLAS_NUM_THREADS",
        "PYTHONHASHSEED",
        "PYTHONIOENCODING",
        "PYTHONUTF8",
        "TF32_OVERRIDE",
        "TOKENIZERS_PARALLELISM",
        "TORCHDYNAMO_DISABLE",
        "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
        "TORCH_COMPILE_DISABLE",
        "TZ",
    }
)
VALUE = re.compile(r"[A-Za-z0-9._:/=+,@-]{0,128}")
