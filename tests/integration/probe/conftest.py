"""Tests here import `collect` and `script` from `collector`, the shared tool beside them."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
