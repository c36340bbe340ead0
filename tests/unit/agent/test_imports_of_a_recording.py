"""A recording starts its training at once: what takes long to import comes while the training starts, or never."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("library", ["grpc", "numpy", "pydantic", "rich_click", "torch"])
def test_a_recording_does_not_wait_for_a_library(library: str) -> None:
    program = f"import sys, detctl_agent.commands.record; print({library!r} in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    ran = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"
