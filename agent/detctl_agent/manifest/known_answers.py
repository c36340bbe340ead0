"""The known-answer class of an environment of this machine (detctl_selfcheck/answers.py), computed once and stored on disk.

The known-answer test takes five seconds before the first training of an environment, and never runs beside one. Everything that
could change the answers is in the key: interpreter, packages, variables, processor. Without an answer (no torch) the class is empty,
and the manifest gives the reason.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from importlib import resources
from pathlib import Path
from typing import Any

from detctl_probe import settings as probe_settings
from detctl_proto.files.private_files import make_private_folder, private
from detctl_proto.files.regular_file import read_regular
from detctl_proto.known_answers import class_of_answers
from detctl_proto.outside_json import parse_object

from detctl_agent.launcher.account import Account
from detctl_agent.launcher.as_user import run_as
from detctl_agent.launcher.container import Container
from detctl_agent.manifest.machine import cpu

TIMEOUT_S = 120.0
ANSWER_BYTES_MAX = 1024 * 1024
# Variables that may change how something is computed; a shell has dozens of others, and new ones in each session.
COMPUTING = re.compile(
    r"^(OMP|MKL|KMP|GOMP|ATEN|ONEDNN|DNNL|OPENBLAS|NPY|BLIS|TORCH|PYTORCH|CUDA|CUDNN|CUBLAS|NVIDIA|LD|MALLOC|GLIBC)_"
    r"|^(TORCHINDUCTOR_(?!CACHE_DIR)|PYTHONHASHSEED$)"
)


@dataclass(frozen=True)
class KnownAnswers:
    """folder: keeps the answers. only_kept: the test itself never runs."""

    folder: Path
    only_kept: bool = False


def known_answers(
    interpreter: str,
    variables: Mapping[str, str],
    source: KnownAnswers,
    container: Container | None = None,
    account: Account | None = None,
) -> dict[str, Any]:
    """{"class": "<12 hex>", "answers": {question: "<32 hex>"}}, or {"class": "", "why": "…"}. Never raises.

    container: the container of the interpreter; None: this machine. account: the user to run it as; None: the user of this process."""
    env = {name: value for name, value in variables.items() if name != probe_settings.VARIABLE}
    file = source.folder / f"{_key(interpreter, env, container)}.json"
    try:
        found = json.loads(read_regular(file, 1 << 20))
        if isinstance(found, dict) and "class" in found:
            return found
    except (OSError, ValueError, RecursionError):
        pass
    if source.only_kept:
        return {"class": "", "why": "the known-answer test did not run"}
    found = _ask(interpreter, env, container, account)
    if found["class"]:
        try:
            make_private_folder(source.folder)
            partial = file.with_suffix(f".{os.getpid()}")
            with open(partial, "w", encoding="utf-8", opener=private) as stream:
                json.dump(found, stream)
            partial.replace(file)
        except OSError:
            pass  # a full disk: the next run computes it again
    return found


def _key(interpreter: str, variables: Mapping[str, str], container: Container | None) -> str:
    computing = {name: value for name, value in variables.items() if COMPUTING.match(name)}
    if container:
        text = json.dumps([container.image.id, interpreter, sorted(computing.items()), cpu()[0]])
        return blake2b(text.encode(), digest_size=12).hexdigest()
    real = Path(interpreter)
    # site-packages' own time changes when something is installed there.
    times = [
        place.stat().st_mtime_ns
        for place in [real, *real.parent.parent.glob("lib*/python*/site-packages")]
        if place.exists()
    ]
    text = json.dumps([interpreter, sorted(computing.items()), times, cpu()[0]])
    return blake2b(text.encode(), digest_size=12).hexdigest()


def _ask(
    interpreter: str, env: Mapping[str, str], container: Container | None, account: Account | None
) -> dict[str, Any]:
    # Its text and not its name, because the environment of a training holds only the probe, also in a container.
    question = [interpreter, "-s", "-c", resources.files("detctl_selfcheck").joinpath("answers.py").read_text("utf-8")]
    try:
        if container:
            output = container.ask(question, env, TIMEOUT_S)
        elif account:
            output = run_as(account, question, env, TIMEOUT_S).stdout
        else:
            output = subprocess.run(
                question, env=dict(env), capture_output=True, text=True, timeout=TIMEOUT_S, stdin=subprocess.DEVNULL, check=False,
                cwd="/",  # Python looks for modules in there first
            ).stdout  # fmt: skip
        answers = parse_object(output, "its answer", ANSWER_BYTES_MAX)["answers"]
        if not isinstance(answers, dict) or not all(isinstance(answer, str) for answer in answers.values()):
            raise TypeError("answers are texts by question")
    except subprocess.TimeoutExpired:
        return {"class": "", "why": f"no answer within {TIMEOUT_S:.0f} s"}
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError) as error:
        return {"class": "", "why": f"{interpreter} did not answer ({type(error).__name__}); it may have no torch"}
    return {"class": class_of_answers(answers), "answers": answers}
