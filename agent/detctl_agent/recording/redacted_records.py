"""Removes credentials from what the probe sends: from the command of a process, and from URLs in evidence.

The digest of a command is computed again over the redacted command. A digest of a password could be guessed by trial, and marks
under another machine's key would look like another command. Passwords that differ show in the manifest's command, under one key.
"""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import Any

from detctl_probe.transport.frames import STAGE_NUMBERS
from detctl_proto.security.redaction import redact_command, redact_document

from detctl_agent.recording.records import Record
from detctl_agent.recording.segments import EVIDENCE_BYTES_MAX

CODE = STAGE_NUMBERS["code"]
COMMAND = "command"  # the site, as the probe's observe/code.py names it


def redacted_hello(hello: dict[str, Any]) -> dict[str, Any]:
    """HELLO with the command of the process redacted."""
    argv = hello.get("argv")
    return {**hello, "argv": redact_command([str(word) for word in argv])} if isinstance(argv, list) else hello


def redacted_record(record: Record) -> Record:
    """The record without credentials; the same object if it holds none."""
    if record.evidence is None:
        return record
    if record.stage == CODE and record.identity.site == COMMAND:
        return _command(record)
    if b"://" not in record.evidence or len(record.evidence) > EVIDENCE_BYTES_MAX:  # larger ones are not kept
        return record
    evidence = _parsed(record.evidence)
    redacted = redact_document(evidence)
    return record if redacted == evidence else record._replace(evidence=json.dumps(redacted).encode())


def _command(record: Record) -> Record:
    evidence = _parsed(record.evidence or b"")
    command = evidence.get("command") if isinstance(evidence, dict) else None
    if not isinstance(command, list):
        return record
    plain = [str(word) for word in command]
    redacted = redact_command(plain)
    if redacted == plain:
        return record
    digest = blake2b("\0".join(redacted).encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return record._replace(digest=digest, evidence=json.dumps({**evidence, "command": redacted}).encode())


def _parsed(evidence: bytes) -> Any:
    try:
        return json.loads(evidence)
    except (ValueError, RecursionError):
        return None
