"""What this interpreter runs, read from its own command line (sys.argv is not yet complete when site runs)."""

from __future__ import annotations

import os
import sys
from typing import List, NamedTuple

SCRIPT, MODULE, CODE, NOTHING = "script", "module", "code", "nothing"

_WITH_VALUE = ("-X", "-W", "--check-hash-based-pycs")
LAUNCHER_MODULES = (
    "torch.distributed.run",
    "torch.distributed.launch",
    "accelerate.commands.launch",
    "accelerate.commands.accelerate_cli",
    "deepspeed.launcher.runner",
)
LAUNCHER_SCRIPTS = ("torchrun", "accelerate", "deepspeed")
HELPER_MODULES = ("torch._inductor.compile_worker", "torch._inductor.compile_worker.__main__")
HELPER_CODE = ("multiprocessing.resource_tracker", "multiprocessing.semaphore_tracker")


class Command(NamedTuple):
    """kind: script, module, code or nothing (interactive, stdin); target: path, module name or program text."""

    kind: str
    target: str
    arguments: List[str]

    @property
    def launcher(self) -> bool:
        """Whether it starts trainings and trains nothing itself (torchrun, accelerate launch)."""
        if self.kind == MODULE:
            if self.target.startswith("accelerate.commands.accelerate_cli"):
                return self.arguments[:1] == ["launch"]
            return self.target in LAUNCHER_MODULES
        if self.kind == SCRIPT:
            name = os.path.basename(self.target)
            path = self.target.replace(os.sep, "/")
            if name == "accelerate" or path.endswith("/accelerate/commands/accelerate_cli.py"):
                return self.arguments[:1] == ["launch"]
            return name in LAUNCHER_SCRIPTS or path.endswith(("torch/distributed/run.py", "commands/launch.py"))
        return False

    @property
    def helper(self) -> bool:
        """Whether this is a process of the interpreter's own (resource tracker, compile worker), which is not part of the training."""
        if self.kind == CODE:
            return any(name in self.target for name in HELPER_CODE)
        if self.kind == SCRIPT:
            return "/torch/_inductor/compile_worker/" in self.target
        return self.kind == MODULE and self.target in HELPER_MODULES

    @property
    def spawned(self) -> bool:
        """Whether it is a child of multiprocessing's spawn or forkserver."""
        return self.kind == CODE and self.target.startswith("from multiprocessing.")


def parse(arguments: List[str]) -> Command:
    """Splits the arguments of a command line; arguments[0] is the interpreter."""
    at = 1
    while at < len(arguments):
        argument = arguments[at]
        if argument == "--":
            at += 1
            break
        if not argument.startswith("-") or argument == "-":
            break
        if argument in _WITH_VALUE:
            at += 2
            continue
        if not argument.startswith("--"):
            # Options without a value may stand in one argument with -c or -m: `-um train`, `-mtrain`.
            for position, letter in enumerate(argument[1:], 1):
                if letter in "cm":
                    rest = argument[position + 1 :]
                    value = arguments[at + 1 : at + 2] if not rest else [rest]
                    kind = CODE if letter == "c" else MODULE
                    return Command(kind, value[0] if value else "", arguments[at + (1 if rest else 2) :])
                if letter in "XW":
                    break
        at += 1
    if at >= len(arguments) or arguments[at] == "-":
        return Command(NOTHING, "", arguments[at + 1 :])
    return Command(SCRIPT, arguments[at], arguments[at + 1 :])


def own() -> Command:
    """The command of this process."""
    try:
        with open("/proc/self/cmdline", "rb") as file:
            arguments = [os.fsdecode(argument) for argument in file.read().split(b"\0")[:-1]]
    except OSError:
        arguments = list(getattr(sys, "orig_argv", None) or [sys.executable, *getattr(sys, "argv", [])])
    return parse(arguments)
