"""Help pages of detctl-agent: every option has one group, every command an example, and rich-click draws them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import click
import pytest
from detctl_agent.main import cli
from detctl_agent.toolkit import OPTION_GROUPS


@pytest.mark.parametrize("command", OPTION_GROUPS)
def test_every_option_is_in_one_group(command: str) -> None:
    found = cli.get_command(click.Context(cli), command.removeprefix("detctl-agent "))
    assert found is not None
    options = [parameter for parameter in found.params if isinstance(parameter, click.Option)]
    grouped = Counter(name for names in OPTION_GROUPS[command].values() for name in names)
    assert set(grouped.values()) == {1}
    assert all(sum(grouped[name] for name in option.opts) == 1 for option in options)
    assert sum(grouped.values()) == len(options)


@pytest.mark.parametrize("name", cli.list_commands(click.Context(cli)))
def test_every_command_has_an_example(name: str) -> None:
    found = cli.get_command(click.Context(cli), name)
    assert found is not None and f"  detctl-agent {name} " in (found.help or "")


def test_a_help_page_is_drawn_in_groups() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "COLUMNS": "120"}
    command = [sys.executable, "-m", "detctl_agent.main", "record", "--help"]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "Usage: detctl-agent record" in ran.stdout
    assert all(f"─ {group} ─" in ran.stdout for group in OPTION_GROUPS["detctl-agent record"])
