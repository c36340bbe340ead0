"""Sources that doctor parses, and every rule over those that are Python."""

from __future__ import annotations

from pathlib import Path

from harness import fuzz, instrumented, one_line

with instrumented("detctl_cli.doctor"):
    from detctl_cli.doctor.rules import check_program
    from detctl_cli.doctor.source import Program, Unread, parse_source


def target(data: bytes) -> None:
    module = parse_source(data, Path("train.py"), "train.py")
    if isinstance(module, Unread):
        one_line(module.text)
        return
    called = frozenset(name for _, name in module.calls() if name)
    for finding in check_program(Program((module,), called)):
        str(finding.to_dict()).encode("utf-8")


if __name__ == "__main__":
    fuzz(target)
