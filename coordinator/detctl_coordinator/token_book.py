"""The store's tokens as every call needs them: read at most once a second, at once for one that is not known yet."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from detctl_coordinator.async_store import AsyncStore
from detctl_coordinator.domain.identity import Token, token_from_document

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
            documents = await self._store.tokens()
            self._tokens = {name: token_from_document(document) for name, document in documents.items()}
            self._read_at = self._monotonic()
        return self._tokens.get(token_id)

    def forget(self) -> None:
        """After a change made here: the next call reads."""
        self._read_at = float("-inf")
