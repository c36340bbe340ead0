"""Bytes that an intervention returns in place of the system's entropy."""

from __future__ import annotations

from hashlib import blake2b


class DeterministicBytes:
    """A stream of bytes, the same in every run; each key has another."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()
        self._drawn = 0

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        found = b""
        while len(found) < count:
            found += blake2b(b"%s %d" % (self._key, self._drawn), digest_size=64).digest()
            self._drawn += 1
        return found[:count]
