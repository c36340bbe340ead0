"""Twelve-factor settings: TRAIN_* of the environment override the defaults."""
import os
from dataclasses import dataclass, fields


@dataclass
class Settings:
    lr: float = 0.02
    batch: int = 32
    steps: int = 12

    @classmethod
    def from_environment(cls, prefix="TRAIN_"):
        given = {k[len(prefix):].lower(): v for k, v in os.environ.items() if k.startswith(prefix)}
        return cls(**{f.name: type(f.default)(given[f.name]) for f in fields(cls) if f.name in given})
