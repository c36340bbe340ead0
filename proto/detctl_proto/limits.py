"""Limits that more than one side keeps, and defaults that more than one side names. A comment gives the reason for each number."""

from __future__ import annotations

MESSAGE_BYTES_MAX = 4 * 1024 * 1024  # a segment is at most 256 KiB compressed; a Hello with manifest some hundred KiB
MANIFEST_BYTES_MAX = 1024 * 1024  # as JSON, in a message
OUTPUT_TAIL_CHARS_MAX = 64 * 1024  # of stdout and stderr together, with their headings
OUTPUT_LINE_CHARS_MAX = 200  # of the last line that a training printed, while it runs
LINE_CHARS_MAX = 2000  # of a text for people, and of a parameter's default and pattern
SITE_BYTES_MAX = 512
RANK_MAX = 1 << 20  # ranks are smaller
SOCKET_PATH_BYTES_MAX = 107  # of Linux

TWINS_DEFAULT = 3
TWINS_MAX = 100
RUNS_MAX = 1000  # of one audit
EXPERIMENTS_DEFAULT = 48  # of one audit
LIST_MAX = 1000  # rows of one answer
PARALLEL_RUNS_MAX = 64  # of one machine
