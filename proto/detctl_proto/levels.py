"""How finely a training is recorded, from coarse to fine."""

from __future__ import annotations

LEVELS = ("step", "module", "op")
DEFAULT_LEVEL = "module"
