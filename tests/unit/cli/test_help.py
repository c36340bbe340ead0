"""Help pages: every command has an example, every option a sentence, and options are in panels."""

from __future__ import annotations

import subprocess
import sys

import pytest
import rich_click as click
from detctl_cli.commands import detctl


def commands(group=detctl, path="detctl"):
    """Yields (words, command) of all commands and subcommands."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield f"{path} {name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")


def test_every_command_has_an_example_and_its_short_help_is_a_sentence():
    for path, command in commands():
        assert "Example" in command.help, path
        assert path in command.help, path
        assert command.short_help.endswith("."), path


def test_every_option_has_a_sentence():
    for path, command in commands():
        for param in command.params:
            if isinstance(param, click.Option):
                assert param.help and param.help[0].isupper(), (path, param.name)
                assert param.help.rstrip().endswith("."), (path, param.name)


def test_options_of_large_commands_are_in_panels():
    for path, command in commands():
        if path.split()[-1] in ("audit", "compare", "record", "zoom", "explain"):
            assert all(param.panel for param in command.params if isinstance(param, click.Option)), path


def test_the_help_page_shows_groups_of_commands_and_the_alias(cli):
    text = cli("--help", COLUMNS="80").out
    for shown in ("Find out why", "Recordings", "Service", "Administration", "kat, selfcheck"):
        assert shown in text, shown
    assert "Run the known-answer test" in cli("selfcheck", "--help").out


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("audit --twins 2 python train.py --lr 1", "detctl audit --twins 2 -- python train.py --lr 1"),
        ("audit train.py --lr 1", "detctl audit -- python train.py --lr 1"),
        ("record -o a ./run.sh x", "detctl record -o a -- ./run.sh x"),
        ("audit train.py", "detctl audit -- python train.py"),
    ],
)
def test_a_command_without_dashes_gets_them_in_the_hint(cli, typed, line):
    ran = cli(*typed.split())
    assert (ran.code, ran.out) == (2, "")
    assert len(ran.err.splitlines()) == 1 and ran.err.endswith(f"{line}\n")


def test_the_whole_machine_is_no_folder_of_a_training(environ):
    words = [sys.executable, "-m", "detctl_cli", "audit", "--", "python", "train.py"]
    ran = subprocess.run(words, cwd="/", env=environ, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (2, "") and "change to the folder of the training" in ran.stderr
