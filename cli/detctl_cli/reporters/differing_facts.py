"""In what the arms of a verdict differ although their runs are equal: what an audit across platforms is made for."""

from __future__ import annotations

import re
from collections.abc import Mapping

from detctl_cli.clean import clean

# Fact of the manifest -> the word for it; the rest is counted.
TOLD = {
    r"machine\.os": "OS",
    r"machine\.os_version": "OS version",
    r"machine\.kernel": "kernel",
    r"machine\.libc": "libc",
    r"machine\.cpu_model": "CPU",
    r"gpu\.0\.name": "GPU",
    r"gpu\.0\.driver": "driver",
    r"python\.version": "Python",
    r"torch\.version": "torch",
    r"torch\.cuda": "CUDA",
    r"torch\.cudnn": "cuDNN",
    r"torch\.threads": "threads",
    r"torch\.cpu_capability": "CPU capability",
}


def differing_facts(environment: Mapping[str, Mapping[str, str]]) -> str:
    """One line: `libc glibc 2.36 / glibc 2.41   Python …   and 12 more facts`; empty where no fact that is told differs."""
    parts, told = [], set()
    for pattern, word in TOLD.items():
        for key, values in environment.items():
            if re.fullmatch(pattern, key):
                told.add(key)
                distinct = dict.fromkeys(clean(value) or "none" for value in values.values())
                parts.append(f"{word} {' / '.join(distinct)}")
    if parts and (rest := len(environment) - len(told)):
        parts.append(f"and {rest} more {'fact' if rest == 1 else 'facts'} (--json lists them)")
    return "   ".join(parts)
