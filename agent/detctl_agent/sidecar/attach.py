"""The training container's side of a sidecar: starts the training there when a recorder in another container asks for it.

`python3 /detctl/attach.pyz COMMAND…` works in any image with Python 3.9 or newer and needs only the standard library. Without a
command the recorder provides it, as in Jobs of an agent. The program connects to the recorder's socket and describes itself and its
container. Then it is the shim of the run (shim.py), with this socket instead of pipes:

    to the recorder    {"argv": […], "cwd": "…", "umask": 18, "environ": {…}, "machine": {…}, "python": {…}, "gpu": […]}, then the
                       shim's reports
    from the recorder  the shim's commands

Exit code: the training's own; 0 if the recorder ended it because the window was over.
"""

# Only the standard library: this runs in any image.
# ruff: noqa: PTH100, PTH109, PTH118, PTH120, T201

from __future__ import annotations

import json
import os
import platform
import socket
import sys
import time

from detctl_agent.launcher.shim import Shim
from detctl_agent.manifest.gpu import gpu_facts
from detctl_agent.manifest.system import system_facts

SOCKET = "attach.sock"
WAIT_S = 600.0
AGAIN_S = 0.2
EXIT_TROUBLE = 2


def main() -> None:
    """Entry point of attach.pyz."""
    command = sys.argv[1:]
    if command[:1] == ["--"]:
        command = command[1:]
    folder = os.path.dirname(os.path.abspath(sys.argv[0]))
    connection = _connected(os.path.join(folder, SOCKET))
    connection.sendall(json.dumps(_hello(command)).encode("utf-8") + b"\n")
    shim = Shim(connection.fileno(), connection.fileno())
    shim.run()
    if shim.ended_from_outside:
        sys.exit(0)
    code = shim.exit_code
    sys.exit(EXIT_TROUBLE if code is None else code if code >= 0 else 128 - code)


def _connected(path: str) -> socket.socket:
    """Waits for the recorder, which may start later than this."""
    until = time.monotonic() + WAIT_S
    announced = False
    while True:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(path)
            return connection
        except OSError as error:
            connection.close()
            if time.monotonic() > until:
                _print(f"no recorder listened at {path} within {WAIT_S:.0f} s ({error.strerror})")
                _print("start `detctl record --attach` beside this container")
                sys.exit(EXIT_TROUBLE)
            if not announced:
                announced = True
                _print(f"waiting for the recorder at {path}")
            time.sleep(AGAIN_S)  # nothing signals when the socket appears


def _hello(command: list[str]) -> dict[str, object]:
    umask = os.umask(0o077)
    os.umask(umask)
    return {
        "argv": command,
        "cwd": os.getcwd(),
        "umask": umask,
        "environ": dict(os.environ),
        "machine": {"hostname": socket.gethostname(), **system_facts()},
        "python": {
            "version": platform.python_version(),
            "implementation": platform.python_implementation(),
            "executable": sys.executable,
        },
        "gpu": gpu_facts(),
    }


def _print(text: str) -> None:
    print("detctl: " + text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
