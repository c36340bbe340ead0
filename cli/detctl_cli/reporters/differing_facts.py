"""Describes how environments differ whose runs are identical. Audits across platforms are made to show this."""

from __future__ import annotations

from collections.abc import Mapping

from detctl_cli.output.clean import clean

# Fact of the manifest -> its name in the text. Other facts are only counted.
SHOWN = {
    "machine.os": "OS",
    "machine.os_version": "OS version",
    "machine.kernel": "kernel",
    "machine.libc": "libc",
    "machine.cpu_model": "CPU",
    "gpu.0.name": "GPU",
    "gpu.0.driver": "driver",
    "python.version": "Python",
    "torch.version": "torch",
    "torch.cuda": "CUDA",
    "torch.cudnn": "cuDNN",
    "torch.threads": "threads",
    "torch.cpu_capability": "CPU capability",
}


def differing_facts(environment: Mapping[str, Mapping[str, str]]) -> str:
    """Returns `libc glibc 2.36 / glibc 2.41   Python …   and 12 more facts`, empty if no fact in SHOWN differs."""
    parts = []
    for key, word in SHOWN.items():
        if values := environment.get(key):
            distinct = dict.fromkeys(clean(value) or "none" for value in values.values())
            parts.append(f"{word} {' / '.join(distinct)}")
    if parts and (rest := len(environment) - len(parts)):
        parts.append(f"and {rest} more {'fact' if rest == 1 else 'facts'} (--json lists them)")
    return "   ".join(parts)
