"""`python -m detctl_cli`."""

import sys

from detctl_cli.main import main

sys.exit(main())
