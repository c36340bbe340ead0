"""Takes credentials out of what is recorded, sent or shown. Standard library alone; pure.

A mark replaces a credential. `[redacted]` reveals nothing about it. `[redacted KEY:DIGEST]` holds a keyed digest (BLAKE2b under a
recording key that never leaves its owner): two marks under one key show whether the values are equal, and a reader without the key
cannot try out values. Marks under different keys cannot be compared (docs/adr/0009).
"""

from __future__ import annotations

from detctl_proto.security.redaction.command_lines import redact_command, redact_pairs, redact_value
from detctl_proto.security.redaction.documents import redact_document
from detctl_proto.security.redaction.manifests import (
    DIGESTS,
    is_open,
    looks_secret,
    protected_manifest,
    protected_recipe,
    protected_variables,
    variables_agree,
)
from detctl_proto.security.redaction.marks import (
    KEY_BYTES,
    MARK,
    NOT_RECORDED,
    REDACTED,
    RecordingKey,
    agree,
    shown_value,
)
from detctl_proto.security.redaction.text import redact_output, redact_text

__all__ = [
    "DIGESTS",
    "KEY_BYTES",
    "MARK",
    "NOT_RECORDED",
    "REDACTED",
    "RecordingKey",
    "agree",
    "is_open",
    "looks_secret",
    "protected_manifest",
    "protected_recipe",
    "protected_variables",
    "redact_command",
    "redact_document",
    "redact_output",
    "redact_pairs",
    "redact_text",
    "redact_value",
    "shown_value",
    "variables_agree",
]
