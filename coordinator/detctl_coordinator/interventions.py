"""Names that the probe acts on from inside a training, and their values (detctl_probe/intervene)."""

from __future__ import annotations

import re

VALUES: dict[str, re.Pattern[str]] = {
    "listing": re.compile(r"sorted|shuffled(:[0-9]{1,9})?"),
    "workers": re.compile(r"[0-9]{1,3}"),
}
HINTS = {"listing": "sorted, shuffled or shuffled:SEED", "workers": "a number from 0 to 999"}
