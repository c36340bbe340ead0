"""The connection to Redis: a bounded pool, time limits, few retries, and every failure as a StoreError in one line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import redis
from detctl_proto.clean_text import clean_text
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from detctl_coordinator.storage.address import redacted
from detctl_coordinator.storage.store import StoreError

CONNECTIONS_MAX = 32  # as many as asyncio.to_thread has threads
RETRIES = 2  # of a connection that broke; a time-out is not retried, the caller's patience is over

_SAID = {
    "MISCONF": "cannot write to its disk (is it full?): free space there; nothing of this write counts as stored",
    "OOM": "has no memory left (maxmemory): give it more, or delete runs",
    "LOADING": "is still loading its data: try again shortly",
    "READONLY": "is a read-only replica: use the address of the primary",
    "NOPERM": "does not let this user do that: its ACL needs ~detctl:* +@read +@write +@connection +@scripting +info",
    "NOAUTH": "wants a password: put it into a file of mode 0600 and name that with --store-password-file FILE",
    "WRONGPASS": "does not accept this user and password",
    "MOVED": "is a cluster, which detctl does not support: use one primary",
    "NOREPLICAS": "has too few replicas to accept writes",
}


class RedisLink:
    """Commands and scripts; thread-safe. Raises StoreError from every method."""

    def __init__(self, address: str, timeout_s: float, password: str = "") -> None:
        """password: of an address that has none."""
        self.shown = redacted(address)
        try:
            pool = redis.BlockingConnectionPool.from_url(
                address,
                max_connections=CONNECTIONS_MAX,
                timeout=timeout_s,
                socket_timeout=timeout_s,
                socket_connect_timeout=timeout_s,
                retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), RETRIES, supported_errors=(redis.ConnectionError,)),
                protocol=2,
                **({"password": password} if password else {}),
            )
        except (ValueError, TypeError, redis.RedisError) as error:
            # The text of the error may quote the address, password and all.
            raise StoreError(f"store address {self.shown!r} is not understood ({type(error).__name__})") from None
        self._password = str(pool.connection_kwargs.get("password") or "")
        self._client = redis.Redis.from_pool(pool)
        self._scripts: dict[str, Any] = {}

    def call(self, *command: Any) -> Any:
        """One command; bytes come back as bytes."""
        with self._explained():
            return self._client.execute_command(*command)

    def calls(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Several commands in one round trip; not atomic."""
        if not commands:
            return []
        with self._explained(), self._client.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            return list(pipeline.execute())

    def script(self, text: str, keys: Sequence[str], values: Sequence[Any]) -> Any:
        """Runs a Lua script, by its digest once the server knows it."""
        with self._explained():
            script = self._scripts.get(text)
            if script is None:
                script = self._scripts.setdefault(text, self._client.register_script(text))
            return script(keys=list(keys), args=list(values))

    def confirm(self) -> None:
        """Raises where the server could not append the writes that it answered so far to its file.

        With appendfsync everysec Redis answers a write although the append failed, and refuses only what comes next, PING
        included. It appends before it answers, so a PING sent after the answer knows.
        """
        self.call("PING")

    def close(self) -> None:
        self._client.close()
        self._client.connection_pool.disconnect()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except redis.RedisError as error:
            said = explain(error)
            if self._password and self._password in said:  # a server may quote the command that it did not understand
                said, error = said.replace(self._password, "…"), redis.RedisError("quoted the password")
            raise StoreError(f"store {self.shown} {said}") from error
        except OSError as error:
            raise StoreError(f"store {self.shown} does not answer: {error.strerror or error}") from error


def explain(error: redis.RedisError) -> str:
    """What is wrong and what to do, for the end of `store redis://… <this>`."""
    text = clean_text(str(error))
    # Subclasses first: being busy and being unauthorised are connection errors to redis-py.
    if isinstance(error, redis.exceptions.BusyLoadingError):
        return _SAID["LOADING"]
    if isinstance(error, redis.AuthenticationError):
        return _SAID["NOAUTH" if "required" in text else "WRONGPASS"]
    if isinstance(error, redis.exceptions.NoPermissionError):
        return _SAID["NOPERM"]
    if isinstance(error, redis.exceptions.OutOfMemoryError):
        return _SAID["OOM"]
    if isinstance(error, redis.ReadOnlyError):
        return _SAID["READONLY"]
    if isinstance(error, redis.TimeoutError):
        return "did not answer in time: is it overloaded or stopped?"
    if isinstance(error, redis.ConnectionError):
        return f"cannot be reached: {text[:200]}"
    for word, said in _SAID.items():  # anywhere: an error inside a script has the script's own text before it
        if word in text:
            return said
    return f"refused a command: {text[:200]}"
