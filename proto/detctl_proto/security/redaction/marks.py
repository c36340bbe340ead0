"""The marks that replace credentials, the key of their digests, and what two marks show about equality. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b

KEY_BYTES = 32
REDACTED = "[redacted]"
NOT_RECORDED = "(value not recorded)"
MARK = re.compile(r"\[redacted(?: ([0-9a-f]{16}):([0-9a-f]{32}))?\]")
_BEGINS = "[redacted"  # of a mark, also of one that a blank has cut

Marker = Callable[[str], str]


@dataclass(frozen=True)
class RecordingKey:
    """The key of the digests of values: 32 bytes of one user's installation."""

    secret: bytes = field(repr=False)

    @cached_property
    def id(self) -> str:
        """16 hex digits that distinguish two keys and reveal nothing else."""
        return blake2b(b"detctl recording key", key=self.secret, digest_size=8).hexdigest()

    def mark(self, value: str, name: str = "") -> str:
        """The mark of a value. The digest covers the name too: it does not reveal that two variables hold one value."""
        text = f"{name}\0{value}".encode("utf-8", "surrogatepass")
        return f"[redacted {self.id}:{blake2b(text, key=self.secret, digest_size=16).hexdigest()}]"

    def derived(self, purpose: str) -> RecordingKey:
        """A key for one purpose, from which this one cannot be found."""
        return RecordingKey(blake2b(purpose.encode(), key=self.secret, digest_size=KEY_BYTES).digest())


def plain_mark(_: str) -> str:
    """The mark that reveals nothing."""
    return REDACTED


def marker(key: RecordingKey | None, name: str = "") -> Marker:
    """A function that replaces a value by its mark; it leaves a mark as it is. key: None for plain marks."""

    def mark(value: str) -> str:
        if MARK.fullmatch(value):
            return value
        return REDACTED if key is None else key.mark(value, name)

    return mark


def is_redacted(value: str) -> bool:
    """Whether the value has been redacted before, or describes a value that is not recorded."""
    return value == _BEGINS or MARK.match(value) is not None or value.startswith("(value ")


def agree(left: str | None, right: str | None) -> bool | None:
    """Whether two recorded values are equal; None: marks under different keys, or a mark against a value, cannot be compared."""
    if left is None or right is None or left == right:
        return left == right
    ours, theirs = MARK.findall(left), MARK.findall(right)
    if not ours and not theirs:
        return False
    if (MARK.fullmatch(left) is None) != (MARK.fullmatch(right) is None):
        return None
    if MARK.sub(REDACTED, left) != MARK.sub(REDACTED, right):
        return False
    known = [(a, b) for a, b in zip(ours, theirs, strict=True) if a[0] and a[0] == b[0]]
    if any(a != b for a, b in known):
        return False
    return True if len(known) == len(ours) else None


def shown_value(value: str) -> str:
    """A value for people: a text that describes it instead of a mark."""
    return NOT_RECORDED if MARK.fullmatch(value) else MARK.sub(REDACTED, value)
