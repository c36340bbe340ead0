"""What this interpreter was asked to run, read from its own command line (sys.argv is not yet whole when site runs)."""

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
        """A parent of trainings that trains nothing itself (torchrun, accelerate launch)."""
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
        """A process of the interpreter's own (resource tracker, compile worker): nothing of it is the training's."""
        if self.kind == CODE:
            return any(name in self.target for name in HELPER_CODE)
        if self.kind == SCRIPT:
            return "/torch/_inductor/compile_worker/" in self.target
        return self.kind == MODULE and self.target in HELPER_MODULES

    @property
    def spawned(self) -> bool:
        """A child of multiprocessing's spawn or forkserver."""
        return self.kind == CODE and self.target.startswith("from multiprocessing.")


def parse(words: List[str]) -> Command:
    """Splits the words of a command line; words[0] is the interpreter."""
    at = 1
    while at < len(words):
        word = words[at]
        if word == "--":
            at += 1
            break
        if not word.startswith("-") or word == "-":
            break
        if word in _WITH_VALUE:
            at += 2
            continue
        if not word.startswith("--"):
            # Options without a value may stand in one word with -c or -m: `-um train`, `-mtrain`.
            for position, letter in enumerate(word[1:], 1):
                if letter in "cm":
                    rest = word[position + 1 :]
                    value = words[at + 1 : at + 2] if not rest else [rest]
                    kind = CODE if letter == "c" else MODULE
                    return Command(kind, value[0] if value else "", words[at + (1 if rest else 2) :])
                if letter in "XW":
                    break
        at += 1
    if at >= len(words) or words[at] == "-":
        return Command(NOTHING, "", words[at + 1 :])
    return Command(SCRIPT, words[at], words[at + 1 :])


def own() -> Command:
    """The command of this process."""
    try:
        with open("/proc/self/cmdline", "rb") as file:
            words = [os.fsdecode(word) for word in file.read().split(b"\0")[:-1]]
    except OSError:
        words = list(getattr(sys, "orig_argv", None) or [sys.executable, *getattr(sys, "argv", [])])
    return parse(words)
