"""`run.json` and `manifest.json` of a recording: the agent writes them, the command line reads them, and the coordinator shows runs so."""

from __future__ import annotations

# How a run ended, as run.json and RunState report it.
RUN_ENDS = ("exit", "window", "stop", "timeout", "lost", "cancelled", "output-limit", "disk-full")
RUN_SCHEMA = "detctl.run/v1"
RUN_BYTES_MAX = 4 * 1024 * 1024
MANIFEST_BYTES_MAX = 32 * 1024 * 1024
