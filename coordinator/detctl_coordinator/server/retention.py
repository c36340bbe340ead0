"""Deletes runs that are older than --max-age, every hour."""

from __future__ import annotations

import asyncio
import logging
import time

from detctl_coordinator.storage.async_store import AsyncStore
from detctl_coordinator.storage.store import StoreError

log = logging.getLogger(__name__)

SWEEP_S = 3600.0


async def sweep_for_ever(store: AsyncStore, max_age_s: float) -> None:
    """Deletes runs that are over and older than max_age_s, at once and then every hour."""
    while True:
        try:
            gone = await store.delete_older_than(time.time() - max_age_s)
            if gone:
                log.info("event=retention deleted=%d", len(gone))
        except StoreError as error:
            log.warning("event=retention store=%s", error)
        await asyncio.sleep(SWEEP_S)
