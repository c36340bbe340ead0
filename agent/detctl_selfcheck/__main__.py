"""`python -m detctl_selfcheck` prints this machine's known answers as one JSON document."""

from __future__ import annotations

import sys

from detctl_selfcheck.answers import main

if __name__ == "__main__":
    sys.exit(main())
