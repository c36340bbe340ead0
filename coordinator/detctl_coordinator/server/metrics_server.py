"""Serves `GET /metrics` for Prometheus in the event loop. It takes a few connections and closes each after its reply or after READ_S.

It uses neither threads nor keep-alive, because scrapers call only every few seconds, and idle connections must not block others.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from detctl_coordinator.server.listen import ListenError, parse

CONNECTIONS_MAX = 16  # enough for two Prometheus servers and a person
HEAD_BYTES_MAX = 8 * 1024
READ_S = 5.0  # the time limit for reading the head of a request, and again for sending the reply
FRESH_S = 1.0  # within this time the same text is sent again


class MetricsServer:
    """Call `start`, later `close`."""

    def __init__(self, registry: CollectorRegistry, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._registry = registry
        self._monotonic = monotonic
        self._open = 0
        self._texts: dict[str, tuple[float, bytes]] = {}  # by content type: when, text
        self._server: asyncio.Server | None = None

    async def start(self, address: str) -> None:
        """Raises ListenError."""
        found = parse(address, off_loopback=True, flag="--metrics")  # metrics hold no secrets
        if found.is_unix:
            raise ListenError(f"--metrics {address}: expected HOST:PORT")
        try:
            self._server = await asyncio.start_server(self._serve, found.host, found.port, limit=HEAD_BYTES_MAX)
        except OSError as error:
            why = os.strerror(error.errno) if error.errno else str(error)
            raise ListenError(f"--metrics {address}: {why}") from error

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._open >= CONNECTIONS_MAX:
            writer.transport.abort()
            return
        self._open += 1
        try:
            with contextlib.suppress(TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                async with asyncio.timeout(READ_S):
                    head = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._answer(head.decode("latin-1")))
                async with asyncio.timeout(READ_S):
                    await writer.drain()
                    writer.close()
                    await writer.wait_closed()
        finally:
            self._open -= 1
            writer.transport.abort()

    def _answer(self, head: str) -> bytes:
        """Returns status line, headers and text."""
        request, *lines = head.split("\r\n")
        method, _, rest = request.partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        if method not in ("GET", "HEAD"):
            return _response("405 Method Not Allowed", b"only GET and HEAD are supported\n")
        if path not in ("/", "/metrics"):
            return _response("404 Not Found", b"the only path is /metrics\n")
        accept = next((value for name, _, value in (s.partition(":") for s in lines) if name.lower() == "accept"), "")
        text, kind = self._text(accept)
        return _response("200 OK", text, kind, with_text=method == "GET")

    def _text(self, accept: str) -> tuple[bytes, str]:
        """Returns (the text in the form that the scraper accepts, its content type)."""
        encode, kind = choose_encoder(accept)
        when, text = self._texts.get(kind, (float("-inf"), b""))
        if self._monotonic() - when >= FRESH_S:
            text = encode(self._registry)
            self._texts[kind] = (self._monotonic(), text)
        return text, kind


def _response(status: str, text: bytes, kind: str = "text/plain; charset=utf-8", *, with_text: bool = True) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n"
    return head.encode("latin-1") + (text if with_text else b"")
