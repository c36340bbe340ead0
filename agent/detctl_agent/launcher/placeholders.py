"""Placeholders in commands and variables: `{data}` is a parameter; `{out}`, `{tmp}`, `{port}` and `{seed}` differ for each run."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from zlib import crc32

from detctl_proto.syntax.names import PLACEHOLDER

OWN = ("out", "tmp", "port", "seed")
_PORTS = range(20_000, 30_000)


def names_in(texts: Iterable[str]) -> list[str]:
    """Placeholders in the order of their first use."""
    return list(dict.fromkeys(name for text in texts for name in PLACEHOLDER.findall(text)))


def fill(text: str, values: Mapping[str, str]) -> str:
    """Replaces the placeholders in `values`. Braces in a value are not replaced again."""
    return PLACEHOLDER.sub(lambda found: values.get(found.group(1), found.group(0)), text)


def free_port(name: str) -> int:
    """A TCP port that is free now. The same name asks for the same one first, so that twins get equal commands."""
    first = crc32(name.encode()) % len(_PORTS)
    for offset in range(len(_PORTS)):
        port = _PORTS[(first + offset) % len(_PORTS)]
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    return 0
