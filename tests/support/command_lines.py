"""Finds the command lines that Markdown pages show, and asks the programs whether they would accept them."""

from __future__ import annotations

import contextlib
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

import click

FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>[\w-]*)[^\n]*\n(?P<body>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)
INDENTED = re.compile(r"(?:^|(?<=\n\n))(?P<body>(?: {4}[^\n]+\n?)+(?:\n+(?: {4}[^\n]+\n?)+)*)")
INLINE = re.compile(r"(?<!`)`([^`]+)`(?!`)", re.DOTALL)
COMMENT = re.compile(r"<!--\s*((?:(?!-->).)*?)\s*-->\s*\Z", re.DOTALL)
SHELL = {"console", "bash", "sh", "shell"}
# A line of an indented block that begins with one of these is a command.
PROGRAMS = (
    "$", "detctl", "detctl-agent", "detctl-coordinator", "docker", "export", "git", "kubectl", "make", "pip", "pipx", "python",
    "python3", "redis-server", "srun", "systemctl", "useradd",
)  # fmt: skip
# `kubectl -n detctl` names a namespace, `generic detctl-agent` a secret.
PROGRAM = r"(?<![\w/.:$-])(?<!-n )(?<!generic )(?P<program>detctl(?:-agent|-coordinator)?)"
OURS = re.compile(PROGRAM + r"(?P<rest>(?: (?:<[^>\n]*>|[^|;&<>()\n])*)?)")


@dataclass(frozen=True)
class Block:
    """A block of code that shows commands, and the comment right before it."""

    line: int
    body: str
    marker: str


def _at(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def _marker(text: str, position: int) -> str:
    found = COMMENT.search(text, 0, position)
    return found.group(1) if found else ""


def code_blocks(text: str) -> Iterator[tuple[int, str, str]]:
    """Yields position, language and text of each block; an indented block has no language."""
    fences = list(FENCE.finditer(text))
    for fence in fences:
        yield fence.start(), fence["language"], fence["body"]
    rest = FENCE.sub(lambda fence: "\n" * fence.group().count("\n"), text)
    offsets = [(fence.start(), len(fence.group()) - fence.group().count("\n")) for fence in fences]
    for block in INDENTED.finditer(rest):
        position = block.start()
        for start, removed in offsets:
            if start <= position:
                position += removed
        yield position, "", block["body"]


def shell_blocks(text: str) -> list[Block]:
    """Returns the blocks of a page that show commands, in their order."""
    found = []
    for position, language, body in code_blocks(text):
        words = body.split()
        if language in SHELL or (not language and words and words[0] in PROGRAMS):
            found.append(Block(_at(text, position), body, _marker(text, position)))
    return sorted(found, key=lambda block: block.line)


def _words(command: str) -> list[str]:
    command = re.split(r"\s{2,}(?=\S)| #", command.strip(), maxsplit=1)[0]  # an explanation follows
    command = re.sub(r"\[(--[^]]*)\]", r"\1", re.sub(r"<[^>]*>", "VALUE", command))
    with contextlib.suppress(ValueError):
        return shlex.split(command)
    return command.split()


def our_commands(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yields the line and the words of each command of detctl, its agent or its coordinator, in blocks and in backticks. A block of
    the language `text` shows usage, not a command."""
    for position, language, body in code_blocks(text):
        if language == "text":
            continue
        joined = body.replace("\\\n", " ")
        if re.search(r"^ *\$ ", joined, re.MULTILINE):  # the other lines are output
            joined = "\n".join(line if line.lstrip().startswith("$ ") else "" for line in joined.split("\n"))
        for match in OURS.finditer(joined):
            yield _at(text, position) + _at(joined, match.start()), _words(match.group())
    outside = FENCE.sub("", text)
    for code in INLINE.finditer(outside):
        match = OURS.match(re.sub(r"\s*\n\s*", " ", code.group(1)))
        if match:
            yield _at(outside, code.start()), _words(match.group())


def why_refused(words: list[str]) -> str:
    """Returns why a program would refuse a command line: an unknown command, option or choice. "" if it accepts it."""
    if words[0] == "detctl-coordinator":
        from detctl_coordinator.main import coordinator

        return _refused_by(coordinator, words[0], [word for word in words[1:] if word != "…"])
    if words[0] == "detctl-agent":
        from detctl_agent.main import cli

        serves = len(words) > 1 and words[1].startswith("-") and words[1] not in ("-h", "--help", "--version")
        return _refused_by(cli, words[0], ["serve", *words[1:]] if serves else words[1:])
    from detctl_cli.commands import detctl

    return _refused_by(detctl, words[0], words[1:])


def _refused_by(command: click.Command, name: str, arguments: list[str]) -> str:
    if "--" in arguments:
        arguments = arguments[: arguments.index("--")]
    ctx = click.Context(command, info_name=name)
    try:
        values, left, _ = command.make_parser(ctx).parse_args(list(arguments))
        for option in command.params:
            given = values.get(option.name or "")
            if isinstance(option.type, click.Choice) and isinstance(given, str) and not given.isupper():
                option.type.convert(given, option, ctx)
    except click.BadOptionUsage as problem:
        # A sentence names `--join` without its value.
        return "" if arguments[-1] == problem.option_name else problem.format_message()
    except click.UsageError as problem:
        return problem.format_message()
    if not isinstance(command, click.Group):
        return f"does not take {left}" if left else ""
    if not left or left[0] == "…":
        return ""
    child = command.get_command(ctx, left[0])
    return _refused_by(child, left[0], left[1:]) if child else f"{name} has no command {left[0]!r}"
