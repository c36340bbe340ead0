"""Which paths are checkpoints, and the comparison of two."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from detctl_cli.exits import Exit

ENDINGS = (".pt", ".pth", ".ckpt", ".bin", ".safetensors")
OUTCOMES = {"identical": Exit.IDENTICAL, "different": Exit.DIFFERENT, "unverified": Exit.UNVERIFIED}


def is_checkpoint(path: Path) -> bool:
    """A file, or a folder that holds checkpoints and no recording."""
    if path.is_file():
        return True
    if not path.is_dir() or (path / "run.json").exists():
        return False
    try:
        return (path / ".metadata").exists() or any(one.suffix in ENDINGS for one in path.iterdir())
    except OSError:
        return False


def compare_checkpoints(things: Sequence[str], python: str | None, allowed: Sequence[str], *, as_json: bool) -> Exit:
    """Compares two and reports. Raises CliError."""
    from detctl_cli.local.torch_child import run_module
    from detctl_cli.reporters.checkpoints import print_checkpoints
    from detctl_cli.reporters.progress import counting
    from detctl_cli.terminal import console, write_json

    words = [*(word for name in allowed for word in ("--allow-class", name)), "--", *things]
    with counting("comparing tensors") as progress:
        document = run_module("detctl_probe.checkpoints", words, python, progress)
    if as_json:
        write_json(document)
    else:
        print_checkpoints(document, console())
    return OUTCOMES[document["outcome"]]
