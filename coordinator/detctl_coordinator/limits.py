"""Limits of what the coordinator accepts from any caller (docs/security.md 7), besides those of detctl_proto/limits.py."""

from __future__ import annotations

from detctl_proto.limits import LINE_CHARS_MAX
from detctl_proto.syntax.clean_text import clean_text

REQUEST_BYTES_MAX = 64 * 1024  # of calls whose message holds ids, a machine or a token
LIST_BYTES_MAX = 1024 * 1024  # of calls whose message holds lists: variations, run ids
ELEMENTS_MAX = 65_536  # of one message; the largest regular message, a segment with 4,096 closed steps, has 37,000

# Bytes of callers' data in memory at a time, of the whole process and of one caller (byte_budget.py): arriving messages, and segments
# while they are inflated.
ARRIVING_BYTES_MAX = 96 * 1024 * 1024
ARRIVING_BYTES_OF_CALLER_MAX = 24 * 1024 * 1024
INFLATING_BYTES_MAX = 64 * 1024 * 1024
INFLATING_BYTES_OF_CALLER_MAX = 32 * 1024 * 1024
CONNECTIONS_MAX = 2048
STREAMS_OF_CONNECTION_MAX = 1024
DETAIL_BYTES_MAX = 2 * 1024 * 1024
VALUE_CHARS_MAX = 128  # of a parameter in --set and --vary: labels, keys and tables show it

NAMES_MAX = 65_536  # of one segment; a model of 10^5 modules spreads over segments
SEGMENT_RECORDS_MAX = 65_536  # an agent puts at most 4,096 into a segment
CLOSED_MAX = 65_536

RECIPES_MAX = 1000
PARAMETERS_MAX = 256
MACHINES_MAX = 256
JOINERS_MAX = 256
VALUES_MAX = 64  # of one --vary
STEPS_MAX = 10_000_000
WORKING_MAX = 256


def clean(text: str, chars_max: int = LINE_CHARS_MAX) -> str:
    """Returns the text as one line without control characters, cut to a length."""
    return clean_text(text).strip()[:chars_max]
