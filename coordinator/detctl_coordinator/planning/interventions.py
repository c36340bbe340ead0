"""Names that the probe acts on from inside a training, and their values (detctl_probe/intervene)."""

from __future__ import annotations

import re

VALUES: dict[str, re.Pattern[str]] = {
    "attention": re.compile(r"math"),
    "completion": re.compile(r"asked"),
    "ddp_buckets": re.compile(r"one"),
    "deterministic": re.compile(r"on"),
    "identity": re.compile(r"frozen"),
    "listing": re.compile(r"sorted|shuffled(:[0-9]{1,9})?"),
    "precision": re.compile(r"highest"),
    "seed": re.compile(r"[0-9]{1,9}(:steps)?"),
    "threads": re.compile(r"[1-9][0-9]{0,2}"),
    "worker_seeds": re.compile(r"[0-9]{1,9}"),
    "workers": re.compile(r"[0-9]{1,3}"),
}
HINTS = {
    "attention": "math",
    "completion": "asked",
    "ddp_buckets": "one",
    "deterministic": "on",
    "identity": "frozen",
    "listing": "sorted, shuffled or shuffled:SEED",
    "precision": "highest",
    "seed": "N (at the start) or N:steps (at each step too)",
    "threads": "a number from 1 to 999",
    "worker_seeds": "a number",
    "workers": "a number from 0 to 999",
}
# Of experiments and self-tests alone: nobody sets them by name.
OWN = frozenset(("bare", "fault", "keep", "transplant"))
