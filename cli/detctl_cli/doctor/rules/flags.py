"""Rules on switches of torch that determine whether an operation gives the same bits twice."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from detctl_proto.syntax.source.module import Module

from detctl_cli.doctor.finding import Finding
from detctl_cli.doctor.source import Program

_DETERMINISTIC = "torch.use_deterministic_algorithms"
_SETS_IT = frozenset(
    {
        _DETERMINISTIC,
        "torch.set_deterministic_debug_mode",
        "detctl_probe.set_deterministic",
        "transformers.enable_full_determinism",
        "monai.utils.set_determinism",
    }
)
# Dotted target -> (value that is risky, cause, why).
_ASSIGNED = {
    "torch.backends.cudnn.benchmark": (True, "nondeterministic-kernel", "cuDNN chooses kernels by their measured time"),
    "torch.backends.cudnn.deterministic": (
        False,
        "nondeterministic-kernel",
        "cuDNN may choose kernels whose results vary",
    ),
    "torch.backends.cuda.matmul.allow_tf32": (True, "precision-mode", "TF32 rounds to 10 bits on GPUs that have it"),
    "torch.backends.cudnn.allow_tf32": (True, "precision-mode", "TF32 rounds to 10 bits on GPUs that have it"),
}


def deterministic_algorithms(program: Program) -> Iterator[Finding]:
    """Yields a finding if a torch program never requests deterministic algorithms."""
    if program.called & _SETS_IT or _trainer_is_deterministic(program):
        return
    for module in program.modules:
        if line := module.imports("torch"):
            yield Finding(
                "warn", "nondeterministic-kernel", "torch.use_deterministic_algorithms(True) is never called",
                "operations that sum in a random order stay in use; with it, they are replaced or raise an error",
                "torch.use_deterministic_algorithms(True), or detctl_probe.set_deterministic(SEED)", module.shown, line,
            )  # fmt: skip
            return


def risky_switches(program: Program) -> Iterator[Finding]:
    """Yields switches that are set to the value that loses reproducibility."""
    for module in program.modules:
        yield from _assignments(module)
        yield from _calls(module)


def _assignments(module: Module) -> Iterator[Finding]:
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Constant):
            continue
        for target in node.targets:
            name = module.dotted(target)
            risky, cause, why = _ASSIGNED.get(name, (None, "", ""))
            if risky is not None and node.value.value is risky:
                yield Finding(
                    "warn", cause, f"{name} = {risky}", why, f"{name} = {not risky}", module.shown, node.lineno
                )


def _calls(module: Module) -> Iterator[Finding]:
    for call, name in module.calls():
        first = call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else None
        if name == _DETERMINISTIC and first is False:
            yield Finding(
                "warn", "nondeterministic-kernel", f"{name}(False)", "operations may sum in a random order",
                f"{name}(True)", module.shown, call.lineno,
            )  # fmt: skip
        elif name == _DETERMINISTIC and _keyword_is(call, "warn_only", True):
            yield Finding(
                "info", "nondeterministic-kernel", f"{name}(True, warn_only=True)",
                "operations without a deterministic implementation only warn", "read the warnings", module.shown, call.lineno,
            )  # fmt: skip
        elif name == "torch.set_float32_matmul_precision" and first in ("high", "medium"):
            yield Finding(
                "warn", "precision-mode", f'{name}("{first}")', "matrix products are rounded on GPUs with TF32 or bf16",
                f'{name}("highest")', module.shown, call.lineno,
            )  # fmt: skip
        elif name.rpartition(".")[2] == "Trainer" and _keyword_is(call, "benchmark", True):
            yield Finding(
                "warn", "nondeterministic-kernel", "Trainer(benchmark=True)", "cuDNN chooses kernels by their measured time",
                "Trainer(benchmark=False, deterministic=True)", module.shown, call.lineno,
            )  # fmt: skip


def _trainer_is_deterministic(program: Program) -> bool:
    return any(
        name.rpartition(".")[2] == "Trainer" and _keyword_is(call, "deterministic", True, "warn")
        for module in program.modules
        for call, name in module.calls()
    )


def _keyword_is(call: ast.Call, name: str, *values: object) -> bool:
    return any(
        keyword.arg == name and isinstance(keyword.value, ast.Constant) and keyword.value.value in values
        for keyword in call.keywords
    )
