"""Checks environment variables that change numbers, orders or speed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from detctl_cli.doctor.finding import Finding
from detctl_cli.output.clean import clean


def check_variables(environ: Mapping[str, str], *, has_cuda: bool | None = None) -> Iterator[Finding]:
    """Yields a finding for each variable. has_cuda: whether torch sees a GPU, None if unknown."""
    yield _hash_seed(environ.get("PYTHONHASHSEED"))
    yield _threads(environ)
    yield _workspace(environ.get("CUBLAS_WORKSPACE_CONFIG"), has_cuda)
    override = environ.get("NVIDIA_TF32_OVERRIDE")
    if override is not None:
        risky = override != "0"
        yield Finding(
            "warn" if risky else "ok", "precision-mode", f"NVIDIA_TF32_OVERRIDE={clean(override)}",
            "TF32 is on, whatever the script sets" if risky else "TF32 is off, whatever the script sets",
            "NVIDIA_TF32_OVERRIDE=0, or unset it" if risky else "",
        )  # fmt: skip
    for name, cause in (("ATEN_CPU_CAPABILITY", "cpu-isa"), ("ONEDNN_MAX_CPU_ISA", "cpu-isa"), ("MKL_CBWR", "cpu-isa")):
        if name in environ:
            yield Finding(
                "info", cause, f"{name}={clean(environ[name])}", "it determines the CPU kernels",
                "set the same value on all machines",
            )  # fmt: skip


def _hash_seed(value: str | None) -> Finding:
    if value is not None and value != "random":
        return Finding("ok", "hash-order", f"PYTHONHASHSEED={clean(value)}", "sets of strings keep their order")
    return Finding(
        "info", "hash-order", "PYTHONHASHSEED is not set", "the order of sets of strings differs from run to run",
        "export PYTHONHASHSEED=0 before the interpreter starts; inside a script it is too late",
    )  # fmt: skip


def _threads(environ: Mapping[str, str]) -> Finding:
    given = [f"{name}={clean(environ[name])}" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS") if name in environ]
    if given:
        return Finding("ok", "thread-count", ", ".join(given), "sums on the CPU are split in the same way in each run")
    return Finding(
        "info", "thread-count", "OMP_NUM_THREADS is not set",
        "torch uses the number of cores, and another number sums in another order",
        "export OMP_NUM_THREADS=N, the same on all machines",
    )  # fmt: skip


def _workspace(value: str | None, has_cuda: bool | None) -> Finding:
    if value in (":4096:8", ":16:8"):
        return Finding(
            "ok", "nondeterministic-kernel", f"CUBLAS_WORKSPACE_CONFIG={value}", "cuBLAS keeps one workspace"
        )
    what = "CUBLAS_WORKSPACE_CONFIG is not set" if value is None else f"CUBLAS_WORKSPACE_CONFIG={clean(value)}"
    if has_cuda is False:
        return Finding("ok", "nondeterministic-kernel", what, "torch sees no GPU here, so it does not matter")
    return Finding(
        "warn" if has_cuda else "info", "nondeterministic-kernel", what,
        "cuBLAS may sum in another order with several streams, and deterministic algorithms raise an error without it",
        "export CUBLAS_WORKSPACE_CONFIG=:4096:8",
    )  # fmt: skip
