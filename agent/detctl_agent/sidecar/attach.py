"""The training container's side of a sidecar: starts the training there, on the word of a recorder in another container.

`python3 /detctl/attach.pyz COMMAND…` in any image with a Python 3.9 or newer; standard library alone. Without a command the recorder
has it: so agents launch Jobs. It connects to the recorder's socket, says what it would start and where it is, and is from then on the
shim of the run (shim.py), with this socket for its pipes:

    to the recorder    {"argv": […], "cwd": "…", "umask": 18, "environ": {…}, "machine": {…}, "python": {…}, "gpu": […]}, then the
                       shim's reports
    from the recorder  the shim's commands

Exit code: the training's own; 0 where the recorder ended it, since the window was over.
"""

# Standard library and plain words: this runs in whatever trains.
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
    """Entry of attach.pyz."""
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
    told = False
    while True:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(path)
            return connection
        except OSError as error:
            connection.close()
            if time.monotonic() > until:
                _tell(f"no recorder at {path} within {WAIT_S:.0f} s: {error.strerror}")
                sys.exit(EXIT_TROUBLE)
            if not told:
                told = True
                _tell(f"waiting for the recorder at {path}")
            time.sleep(AGAIN_S)  # a socket that is not there yet tells nobody when it comes


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


def _tell(text: str) -> None:
    print("detctl: " + text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
