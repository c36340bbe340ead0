"""Checks the interpreter that trains and its torch, by a question to a process of that interpreter."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any

from detctl_proto.outside_json import JsonError, parse_object

from detctl_cli.doctor.finding import Finding
from detctl_cli.errors import CliError
from detctl_cli.output.clean import clean

ANSWER_BYTES_MAX = 1024 * 1024
TIMEOUT_S = 120.0  # a cold import of torch from a network disk takes a minute

_ASK = r"""
import json, platform, sys
facts = {"python": platform.python_version(), "executable": sys.executable}
try:
    import torch
except Exception as problem:
    facts["torch_problem"] = "%s: %s" % (type(problem).__name__, problem)
else:
    def ask(what):
        try:
            return what()
        except Exception:
            return None
    facts["torch"] = {
        "version": torch.__version__,
        "deterministic": ask(torch.are_deterministic_algorithms_enabled),
        "cudnn_benchmark": ask(lambda: torch.backends.cudnn.benchmark),
        "cudnn_deterministic": ask(lambda: torch.backends.cudnn.deterministic),
        "matmul_tf32": ask(lambda: torch.backends.cuda.matmul.allow_tf32),
        "cudnn_tf32": ask(lambda: torch.backends.cudnn.allow_tf32),
        "cpu_capability": ask(lambda: torch.backends.cpu.get_cpu_capability()),
        "threads": ask(torch.get_num_threads),
        "interop_threads": ask(torch.get_num_interop_threads),
        "cuda": ask(torch.cuda.is_available),
        "cuda_version": torch.version.cuda,
        "gpus": ask(lambda: [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]) or [],
    }
print("\ndetctl-facts " + json.dumps(facts))
"""


def find_python(named: str | None) -> str | None:
    """Returns the named interpreter, else `python` or `python3` on PATH. Raises CliError if the named one does not exist."""
    if named is not None:
        found = shutil.which(named)
        if found is None:
            raise CliError(
                "not-found", f"--python {named}: there is no such program", "give its path, or a name on PATH"
            )
        return found
    return shutil.which("python") or shutil.which("python3")


def facts_of(python: str) -> dict[str, Any]:
    """Returns {"python", "executable", "torch": {...} or "torch_problem"}. Raises CliError if the interpreter does not answer."""
    try:
        done = subprocess.run(
            [python, "-c", _ASK], stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise CliError(
            "interpreter", f"{python} did not answer within {TIMEOUT_S:.0f} s", "name another one with --python"
        ) from None
    except OSError as problem:
        raise CliError(
            "interpreter", f"{python} cannot be started: {problem}", "name another one with --python"
        ) from None
    for line in reversed(done.stdout.decode("utf-8", "replace").splitlines()):
        if line.startswith("detctl-facts "):
            try:
                return parse_object(
                    line.removeprefix("detctl-facts "), f"the answer of {python}", ANSWER_BYTES_MAX, repair=True
                )
            except JsonError as problem:
                raise CliError("interpreter", str(problem), "name another one with --python") from None
    last = done.stderr.decode("utf-8", "replace").strip().splitlines()
    why = clean(last[-1]) if last else "it gave no answer"
    raise CliError("interpreter", f"{python} is not a working Python: {why}", "name another one with --python")


def check_interpreter(facts: Mapping[str, Any]) -> Iterator[Finding]:
    """Yields findings on versions and defaults, before a script changes any of them."""
    where = f"Python {clean(facts.get('python'))} ({clean(facts.get('executable'))})"
    torch = facts.get("torch")
    if not isinstance(torch, Mapping):
        yield Finding(
            "info",
            "library-version",
            f"{where} has no torch",
            clean(facts.get("torch_problem") or ""),
            "name another one with --python",
        )
        return
    capability = clean(torch.get("cpu_capability") or "unknown")
    yield Finding(
        "ok", "library-version", f"{where}, torch {clean(torch.get('version'))}",
        f"CPU kernels {capability}, {torch.get('threads')} threads, {torch.get('interop_threads')} between operations",
    )  # fmt: skip
    if torch.get("cuda"):
        gpus = ", ".join(clean(name) for name in torch.get("gpus") or [])
        yield Finding("ok", "gpu-architecture", f"CUDA {clean(torch.get('cuda_version'))}: {gpus}")
        if torch.get("cudnn_tf32") and torch.get("cudnn_tf32") is not None:
            yield Finding(
                "info", "precision-mode", "torch.backends.cudnn.allow_tf32 is on by default",
                "convolutions are rounded to 10 bits on GPUs that have TF32, and not on others",
                "torch.backends.cudnn.allow_tf32 = False",
            )  # fmt: skip
    if torch.get("matmul_tf32"):
        yield Finding(
            "warn", "precision-mode", "torch.backends.cuda.matmul.allow_tf32 is on", "matrix products are rounded to 10 bits",
            "torch.backends.cuda.matmul.allow_tf32 = False",
        )  # fmt: skip
    if torch.get("cudnn_benchmark"):
        yield Finding(
            "warn", "nondeterministic-kernel", "torch.backends.cudnn.benchmark is on", "cuDNN chooses kernels by their measured time",
            "torch.backends.cudnn.benchmark = False",
        )  # fmt: skip
    if torch.get("deterministic"):
        yield Finding("ok", "nondeterministic-kernel", "deterministic algorithms are on by default here")
