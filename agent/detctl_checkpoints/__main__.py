"""`python -m detctl_checkpoints A B [--allow-class NAME]…`: JSON on stdout, progress (`done of`) on stderr; exit 2 with {"error"}."""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings

from detctl_checkpoints.compare import compare
from detctl_checkpoints.content import CheckpointError
from detctl_checkpoints.open_checkpoint import open_checkpoint

PROGRESS_S = 0.5


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("a")
    parser.add_argument("b")
    parser.add_argument("--allow-class", action="append", default=[])
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # torch's warnings do not concern the user here
    reported = time.monotonic()

    def progress(done: int, of: int) -> None:
        nonlocal reported
        if time.monotonic() - reported >= PROGRESS_S:
            reported = time.monotonic()
            print("progress %d %d" % (done, of), file=sys.stderr, flush=True)

    try:
        import torch  # noqa: F401
    except ImportError as error:
        print(json.dumps({"error": "no-torch", "message": "%s has no torch (%s)" % (sys.executable, error)}))
        return 2
    try:
        a, b = (open_checkpoint(path, options.allow_class) for path in (options.a, options.b))
        print(json.dumps(compare(a, b, progress)))
    except CheckpointError as error:
        print(json.dumps({"error": "checkpoint", "message": str(error)}))
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
