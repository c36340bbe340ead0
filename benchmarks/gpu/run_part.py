"""Runs the checks of one part in this process: `run_part.py PART DEVICE FOLDER SECONDS NAME…`.

It writes one JSON line when a check begins and one when it has ended, into the descriptor that was its standard output. What checks
print goes to standard error. It exits with 0 if all ran. It exits with RESTART if the device may be unusable after the last check,
because a CUDA error persists; the remaining checks then need a new process.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from checks import FAILED, NOT_APPLICABLE, PASSED, SOURCES, Answer, Check, CheckFailedError, NotApplicableError, Place

RESTART = 75
CUDA_ERRORS = ("CUDA error", "CUDA driver error", "device-side assert", "an illegal memory access", "cudaError")


def answer_of(check: Check, part: str, place: Place) -> Answer:
    """Runs one check. An unexpected exception fails it, with its last lines."""
    start = time.perf_counter()
    status, why, figures = PASSED, "", {}
    try:
        if not place.cuda and not check.on_cpu:
            raise NotApplicableError("it needs a GPU")
        figures = dict(check.run(place) or {})
    except NotApplicableError as error:
        status, why = NOT_APPLICABLE, str(error)
    except CheckFailedError as error:
        status, why, figures = FAILED, str(error), error.figures
    except Exception as error:
        status, why = FAILED, f"{type(error).__name__}: {str(error)[:1500]}"
        figures = {"traceback": traceback.format_exc().splitlines()[-12:]}
    return Answer(check.name, part, status, why, time.perf_counter() - start, figures)


def main() -> int:
    """Runs the program that the module describes."""
    part_name, device, folder, seconds, *names = sys.argv[1:]
    sys.path[:0] = SOURCES
    report = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def send(line: dict[str, Any]) -> None:
        report.write(json.dumps(line) + "\n")

    from parts import PARTS

    part = next(part for part in PARTS if part.name == part_name)
    place = Place(device, Path(folder), float(seconds))
    for check in part.checks:
        if check.name not in names:
            continue
        send({"begins": check.name})
        answer = answer_of(check, part.name, place)
        send(answer.document())
        if answer.status == FAILED and any(text in answer.why for text in CUDA_ERRORS):
            report.flush()
            os._exit(RESTART)
    return 0


if __name__ == "__main__":
    sys.exit(main())
