"""`click` for the commands: rich-click if a help page is requested, else plain click, whose import is 12 ms faster.

Every recording starts through this program, so it must not wait for the looks of a help page.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

__all__ = ("HELP_OPTIONS", "OPTION_GROUPS", "Group", "click")

HELP_OPTIONS = ("-h", "--help")
# Names of the groups on each help page, with their options. Options in no group stand under "Options".
OPTION_GROUPS = {
    "detctl-agent record": {
        "What is recorded": ("--output", "--level", "--budget", "--steps", "--to-end"),
        "How the training runs": ("--copy", "--set", "--path", "--timeout", "--machine", "--quiet"),
        "A training in another container": ("--attach", "--env"),
    },
    "detctl-agent serve": {
        "Identity and coordinator": ("--name", "--coordinator", "--tls", "--token-file"),
        "What it trains": (
            "--catalog",
            "--state",
            "--parallel",
            "--inherit-environment",
            "--known-answers",
            "--only-kept-answers",
        ),
        "Jobs in a Kubernetes cluster": ("--jobs", "--namespace"),
        "Log": ("--log-level",),
    },
}

if TYPE_CHECKING or not set(HELP_OPTIONS) & set(sys.argv):
    import click
    from click import Group
else:
    import rich_click as click
    from rich_click import RichGroup as Group

    click.rich_click.OPTION_GROUPS = {
        command: [{"name": name, "options": list(options)} for name, options in groups.items()]
        for command, groups in OPTION_GROUPS.items()
    }
