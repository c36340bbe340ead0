"""The connection to Redis: a bounded pool with time limits and few retries. Every failure becomes a StoreError in one line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import redis
from detctl_proto.syntax.clean_text import clean_text
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from detctl_coordinator.storage.address import redacted
from detctl_coordinator.storage.store import StoreError

CONNECTIONS_MAX = 32  # as many as asyncio.to_thread has threads
RETRIES = 2  # of a broken connection; a timeout is not retried, because the caller has waited long enough

_EXPLANATIONS = {
    "MISCONF": "cannot write to its disk (is it full?): free space there; nothing of this write counts as stored",
    "OOM": "has no memory left (maxmemory): raise maxmemory, or delete runs",
    "LOADING": "is still loading its data: try again shortly",
    "READONLY": "is a read-only replica: use the address of the primary",
    "NOPERM": "does not give this user the rights: its ACL needs ~detctl:* +@read +@write +@connection +@scripting +info",
    "NOAUTH": "needs a password: write it to a file of mode 0600 and add --store-password-file FILE",
    "WRONGPASS": "does not accept this user and password",
    "MOVED": "is a cluster, which detctl does not support: use one primary",
    "NOREPLICAS": "has too few replicas to accept writes",
}


class RedisLink:
    """Runs commands and scripts. Thread-safe. Every method raises StoreError."""

    def __init__(self, address: str, timeout_s: float, password: str = "") -> None:
        """password: used if the address has none."""
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
            # The text of the error may quote the address with its password.
            raise StoreError(f"store address {self.shown!r} is not understood ({type(error).__name__})") from None
        self._password = str(pool.connection_kwargs.get("password") or "")
        self._client = redis.Redis.from_pool(pool)
        self._scripts: dict[str, Any] = {}

    def call(self, *command: Any) -> Any:
        """Runs one command. Bytes are not decoded."""
        with self._explained():
            return self._client.execute_command(*command)

    def calls(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Runs several commands in one round trip; not atomic."""
        if not commands:
            return []
        with self._explained(), self._client.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            return list(pipeline.execute())

    def script(self, text: str, keys: Sequence[str], values: Sequence[Any]) -> Any:
        """Runs a Lua script, by its digest if the server knows it."""
        with self._explained():
            script = self._scripts.get(text)
            if script is None:
                script = self._scripts.setdefault(text, self._client.register_script(text))
            return script(keys=list(keys), args=list(values))

    def confirm(self) -> None:
        """Raises StoreError if the server could not append the writes that it has acknowledged to its file.

        With appendfsync everysec, Redis acknowledges a write even if the append failed, and refuses only later commands, including
        PING. It appends before it answers, so a PING after the reply shows the failure.
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
            text = explain(error)
            if self._password and self._password in text:  # a server may quote a command that it did not understand
                text, error = text.replace(self._password, "…"), redis.RedisError("quoted the password")
            raise StoreError(f"store {self.shown} {text}") from error
        except OSError as error:
            raise StoreError(f"store {self.shown} does not answer: {error.strerror or error}") from error


def explain(error: redis.RedisError) -> str:
    """Returns what is wrong and what to do, as the end of a sentence that begins with `store redis://…`."""
    text = clean_text(str(error))
    # Subclasses come first: to redis-py, a busy server and a failed authentication are connection errors.
    if isinstance(error, redis.exceptions.BusyLoadingError):
        return _EXPLANATIONS["LOADING"]
    if isinstance(error, redis.AuthenticationError):
        return _EXPLANATIONS["NOAUTH" if "required" in text else "WRONGPASS"]
    if isinstance(error, redis.exceptions.NoPermissionError):
        return _EXPLANATIONS["NOPERM"]
    if isinstance(error, redis.exceptions.OutOfMemoryError):
        return _EXPLANATIONS["OOM"]
    if isinstance(error, redis.ReadOnlyError):
        return _EXPLANATIONS["READONLY"]
    if isinstance(error, redis.TimeoutError):
        return "did not answer in time: check whether it is overloaded or stopped"
    if isinstance(error, redis.ConnectionError):
        return f"cannot be reached: {text[:200]}"
    for word, explanation in _EXPLANATIONS.items():  # anywhere, because errors inside a script have a prefix
        if word in text:
            return explanation
    return f"refused a command: {text[:200]}"
