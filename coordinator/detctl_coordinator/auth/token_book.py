"""A cache of the store's tokens. It is read again at most once a second, or sooner for a token that it does not know yet."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from detctl_coordinator.domain.identity import Token
from detctl_coordinator.storage.async_store import AsyncStore
from detctl_coordinator.storage.documents import read_tokens

# Every replica refuses a revoked token after FRESH_S. A new token is found at once, but unknown tokens cannot trigger more than one
# read in AGAIN_S.
FRESH_S = 1.0
AGAIN_S = 0.1


class TokenBook:
    """The tokens by id. Raises StoreError if the store does not answer: an outdated copy must not admit anybody."""

    def __init__(self, store: AsyncStore, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._monotonic = monotonic
        self._tokens: Mapping[str, Token] = {}
        self._read_at = float("-inf")

    async def get(self, token_id: str) -> Token | None:
        """Returns the token as it is stored, or None for an unknown id."""
        age = self._monotonic() - self._read_at
        if age >= FRESH_S or (token_id not in self._tokens and age >= AGAIN_S):
            self._tokens = read_tokens(await self._store.tokens())
            self._read_at = self._monotonic()
        return self._tokens.get(token_id)

    def forget(self) -> None:
        """Makes the next call read the store, because this process changed a token."""
        self._read_at = float("-inf")
