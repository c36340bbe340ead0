"""Variables that may be set from remote, and the shape of their values.

A variable can be code (LD_PRELOAD, PYTHONPATH), so this is an allow-list of switches that change arithmetic, order or
locale and nothing else. The agent checks again with its own list: the coordinator is not the one to be believed.
"""

from __future__ import annotations

import re

ALLOWED = frozenset(
    {
        "ATEN_CPU_CAPABILITY",
        "CUBLAS_WORKSPACE_CONFIG",
        "CUDA_LAUNCH_BLOCKING",
        "DNNL_MAX_CPU_ISA",
        "KMP_AFFINITY",
        "KMP_DETERMINISTIC_REDUCTION",
        "LANG",
        "LC_ALL",
        "MKL_CBWR",
        "MKL_DYNAMIC",
        "MKL_NUM_THREADS",
        "NCCL_ALGO",
        "NCCL_PROTO",
        "NVIDIA_TF32_OVERRIDE",
        "OMP_DYNAMIC",
        "OMP_NUM_THREADS",
        "OMP_PROC_BIND",
        "ONEDNN_DEFAULT_FPMATH_MODE",
        "ONEDNN_MAX_CPU_ISA",
        "OPENBLAS_NUM_THREADS",
        "PYTHONHASHSEED",
        "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
        "TZ",
    }
)
VALUE = re.compile(r"[A-Za-z0-9._:/=+,@-]{0,128}")
