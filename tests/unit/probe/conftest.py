"""What the tests of the probe share."""

from __future__ import annotations

import linecache
from collections.abc import Iterator

import pytest
from detctl_probe.process import source_trees


@pytest.fixture
def fresh_sources() -> Iterator[None]:
    """No source file has been read before, and none stays read."""
    source_trees.forget()
    linecache.clearcache()
    yield
    source_trees.forget()
