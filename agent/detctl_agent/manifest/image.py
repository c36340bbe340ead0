"""Operating system, libc and Python of an image, read inside a container. Cached, because an image's id identifies its content."""

from __future__ import annotations

import inspect
import subprocess
from collections.abc import Mapping
from typing import Any

from detctl_proto.outside_json import parse_object

from detctl_agent.errors import RunRefusedError
from detctl_agent.launcher.container import Container
from detctl_agent.manifest import system
from detctl_agent.manifest.python import QUESTION

TIMEOUT_S = 120.0
ANSWER_BYTES_MAX = 1024 * 1024
# As text, because the image has none of our modules.
_QUESTION = (
    f"{inspect.getsource(system)}\n{QUESTION}\nprint(json.dumps({{**system_facts(), 'executable': sys.executable}}))"
)
_answers: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}


def image_facts(container: Container, python: str, variables: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """{"machine": {os, os_version, libc}, "python": {…}} of an image. python: path of the interpreter in the image; empty: its
    `python3`, else `python`. Raises RunRefusedError if there is none."""
    key = (container.image.id, python)
    if key not in _answers:
        _answers[key] = _ask(container, [python] if python else ["python3", "python"], variables)
    return _answers[key]


def _ask(container: Container, programs: list[str], variables: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    why = ""
    for program in programs:
        try:
            output = container.ask([program, "-I", "-c", _QUESTION], variables, TIMEOUT_S)
            python, system_answer = (
                parse_object(line, "its answer", ANSWER_BYTES_MAX, repair=True)
                for line in output.strip().splitlines()[-2:]
            )
            executable = str(system_answer.pop("executable"))
        except subprocess.CalledProcessError as error:
            why = (error.stderr.strip().splitlines() or [f"exit code {error.returncode}"])[0]
            continue
        except (OSError, subprocess.SubprocessError, ValueError, KeyError) as error:
            why = f"{type(error).__name__}: {error}"
            continue
        python.pop("path", None)
        return {"machine": system_answer, "python": {**python, "executable": executable}}
    raise RunRefusedError(f"image {container.image.name}: {' and '.join(programs)} do not answer in it: {why}")
