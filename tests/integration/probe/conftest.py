"""Tests here say `from collector import collect, script`: the shared tool lies beside them."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
