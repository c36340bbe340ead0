"""Compiles the digest's C kernel when the package is built or installed; without a compiler the probe uses numpy."""

import importlib.util
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

KERNEL = Path("agent/detctl_probe/digest/kernel")


class KernelHook(BuildHookInterface):
    """Puts n6-<machine>.so beside its source. The wheel is then for this platform and any Python, because it uses no Python ABI."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel":
            return
        source = Path(self.root) / KERNEL / "__init__.py"
        spec = importlib.util.spec_from_file_location("kernel", source)
        kernel = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(kernel)
        try:
            path = Path(kernel.compile_into())
        except (OSError, subprocess.CalledProcessError) as error:
            print(
                f"detctl: no C kernel ({error}); the digest uses numpy, which is about 20 times slower", file=sys.stderr
            )
            return
        build_data["artifacts"].append(str(KERNEL / path.name))
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-linux_{platform.machine()}"
