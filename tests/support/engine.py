"""A container engine's command line, for tests: Docker, or Podman where a test takes either."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass


@dataclass(frozen=True)
class Engine:
    """`engine("ps", "--all")` runs `docker ps --all`."""

    program: str = "docker"

    def __call__(self, *words: str, check: bool = False, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        return subprocess.run([self.program, *words], check=check, capture_output=True, text=True, timeout=timeout)

    def out(self, *words: str) -> str:
        """What a command that must succeed printed."""
        return self(*words, check=True, timeout=120).stdout.strip()

    def why_not(self, *images: str) -> str:
        """Empty where it runs and has these images; else the reason to skip."""
        if shutil.which(self.program) is None or self("info").returncode:
            return f"needs a {self.program} engine that runs"
        missing = [image for image in images if self("image", "inspect", image).returncode]
        return f"needs the images {', '.join(missing)}" if missing else ""
