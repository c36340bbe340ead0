"""Rules on orders that depend on string hashes, which change from run to run unless PYTHONHASHSEED is set."""

from __future__ import annotations

from collections.abc import Iterator

from detctl_proto.syntax.source.orders import ordered_uses
from detctl_proto.syntax.source.sets import Sets

from detctl_cli.doctor.finding import Finding
from detctl_cli.doctor.source import Program

_WHY = "for strings it differs from run to run unless PYTHONHASHSEED is set"
_WHY_OBJECTS = "objects are ordered by their address, which differs from run to run"


def set_order(program: Program) -> Iterator[Finding]:
    """Yields places where the order of a set matters. sorted(…), len(…) and `in` are harmless."""
    for use in ordered_uses(Sets(program.modules)):
        if use.kind == "hash":
            continue
        objects = use.items == "objects"
        what = (
            "items that are equal by the key come in the order of a set"
            if use.kind == "ties"
            else "the order of a set is used"
        )
        yield Finding(
            "warn", "hash-order", what, _WHY_OBJECTS if objects else _WHY, "dict.fromkeys(…)" if objects else "sorted(…)",
            use.module.shown, use.line,
        )  # fmt: skip


def string_hash(program: Program) -> Iterator[Finding]:
    """Yields hash(x) % n, a bucket that depends on PYTHONHASHSEED."""
    for use in ordered_uses(Sets(program.modules)):
        if use.kind == "hash":
            yield Finding(
                "warn", "hash-order", "hash() chooses a bucket", "for strings it differs from run to run",
                "use zlib.crc32 or hashlib on the bytes", use.module.shown, use.line,
            )  # fmt: skip
