"""A manifest: recorded facts of the environment of a run, as nested mappings of JSON values.

    {"machine": {"name", "hostname", "os", "os_version", "kernel", "libc", "cpu_model", "cpu_flags_digest", "cpu_isa", "cores"},
     "python":  {"version", "implementation", "executable", "packages": {"torch": "2.13.0", ...}},
     "torch":   {"version", "cpu_capability", "mkldnn_isa", "threads", "interop_threads", "cuda", "cudnn", "flags": {...}},
     "gpu":     [{"name", "driver", "uuid", "memory_bytes", "vbios", "board", "firmware", "ecc", "mig", "nvlinks", …}],
     "locale":  {"LANG", "preferred_encoding", "time_zone"},
     "variables": {"OMP_NUM_THREADS": "2", "EDITOR": "[redacted …]"},   with values: variables that can change numbers or that
                                                          the training read; all others with a keyed digest
     "variable_digests": {"DROP_RATE": "[redacted …]"},   digests of the values that are recorded because they were read
     "storage": {"data": {"file_system": "ext4", "path": "/data/digits"}},
     "recipe":  {"name", "command", "parameters": {...}, "paths": ["data"], "source_digest", "git_commit", "timeout_s"},
     "environment": {"name", "python", "emulate": {"cpu": "default"}, "image", "image_id"},   image, image_id: only for containers
     "opened": {...}, "source": {...}}   what the agent found in the files that the run read (agent: runs/inspection/)

"torch" has the facts that the probe read inside the training (FACTS and the seal). It is absent if no probe was loaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from detctl_proto.security.redaction import DIGESTS, agree, variables_agree

# Sections that hold what the agent found in files, and no facts of the environment: attribution reads them separately.
INSPECTED = ("source", "opened")
# These facts are shown as evidence, but are never suspects (docs/adr/0010, docs/adr/0021).
NOT_SUSPECT = (
    "machine.name",
    "machine.hostname",
    "python.executable",
    "storage.",
    "variables.PWD",
    "variables.HOME",
    "variables.TMPDIR",
    "variables.DETCTL_",
    "variables.PYTHONPATH",
    "gpu.0.uuid",
    "recipe.name",
    "recipe.allow_transplant",
)


def flatten(manifest: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yields (dotted key, value as text) of every leaf, in the order of the mapping. DIGESTS is left out, because it repeats the variables,
    and so are the sections INSPECTED."""
    for key, value in manifest.items():
        name = f"{prefix}{key}"
        if name == DIGESTS or name in INSPECTED:
            continue
        if isinstance(value, Mapping):
            yield from flatten(value, f"{name}.")
        elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
            for position, item in enumerate(value):
                yield from flatten(item if isinstance(item, Mapping) else {"": item}, f"{name}.{position}.")
        else:
            yield name, value if isinstance(value, str) else repr(value)


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, tuple[str | None, str | None]]:
    """Returns dotted key -> (value in a, value in b) of every fact that differs. None: that side does not have it."""
    left, right = dict(flatten(a)), dict(flatten(b))
    return {
        key: (left.get(key), right.get(key))
        for key in {**left, **right}
        if left.get(key) != right.get(key) and _agree(key, a, b, left.get(key), right.get(key)) is False
    }


def not_comparable(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """Returns the variables that cannot be compared, because their values are not recorded and their digests have different keys."""
    left, right = (dict(m["variables"]) if isinstance(m.get("variables"), Mapping) else {} for m in (a, b))
    return [name for name in {**left, **right} if variables_agree(name, a, b) is None]


def _agree(key: str, a: Mapping[str, Any], b: Mapping[str, Any], ours: str | None, theirs: str | None) -> bool | None:
    section, _, name = key.partition(".")
    return variables_agree(name, a, b) if section == "variables" else agree(ours, theirs)
