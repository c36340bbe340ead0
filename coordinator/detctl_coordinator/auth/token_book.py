"""The store's tokens as every call needs them: read at most once a second, at once for one that is not known yet."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from detctl_coordinator.domain.identity import Token, token_from_document
from detctl_coordinator.storage.async_store import AsyncStore
from detctl_coordinator.storage.schemas import checked_token
from detctl_coordinator.storage.store import DocumentError, NamedRows, Unreadable

# A revoked token is dead on every replica after this long; a new one is known at once, but a flood of wrong ones reads the store no faster.
FRESH_S = 1.0
AGAIN_S = 0.1


class TokenBook:
    """Raises StoreError where the store does not answer: nobody is let in by what may be out of date."""

    def __init__(self, store: AsyncStore, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._monotonic = monotonic
        self._tokens: Mapping[str, Token] = {}
        self._read_at = float("-inf")

    async def get(self, token_id: str) -> Token | None:
        """The token as stored, None for an unknown id."""
        age = self._monotonic() - self._read_at
        if age >= FRESH_S or (token_id not in self._tokens and age >= AGAIN_S):
            self._tokens = read_tokens(await self._store.tokens())
            self._read_at = self._monotonic()
        return self._tokens.get(token_id)

    def forget(self) -> None:
        """After a change made here: the next call reads."""
        self._read_at = float("-inf")


def read_tokens(documents: NamedRows[Mapping[str, Any]]) -> NamedRows[Token]:
    """The tokens by id; one whose document cannot be read lets nobody in, and keeps nobody else out."""
    found: dict[str, Token] = {}
    bad = list(documents.unreadable)
    for token_id, document in documents.items():
        try:
            found[token_id] = token_from_document(checked_token(document))
        except DocumentError as error:
            bad.append(Unreadable("token", token_id, str(error)))
    return NamedRows(found, bad)
