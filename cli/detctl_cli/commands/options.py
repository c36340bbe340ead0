"""Options that commands share, and the coordinator that they lead to."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeVar

import rich_click as click
from click import get_current_context
from detctl_proto.limits import LIST_MAX

from detctl_cli.config import Config, load_config
from detctl_cli.errors import CliError, UsageError
from detctl_cli.option_groups import option

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from detctl_cli.reporters.verdict import Form
    from detctl_cli.service.client import Coordinator

F = TypeVar("F", bound=Callable[..., object])

COMMAND_KEY = "detctl.command"


@dataclass
class Settings:
    """Options that name the coordinator. Those of a subcommand take precedence over those of `detctl`."""

    coordinator: str | None = None
    token_file: str | None = None
    tls: str | None = None

    def config(self) -> Config:
        """Returns the configuration: options, then variables, then the file. Raises CliError."""
        return load_config(self.coordinator, self.token_file, self.tls)


class DashCommand(click.RichCommand):
    """A command that keeps what follows `--` apart: `audit -- python train.py` is not `audit python train.py`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            at = args.index("--")
            ctx.meta[COMMAND_KEY] = args[at + 1 :]
            args = args[:at]
            return super().parse_args(ctx, args)
        typed = list(args)  # click empties the list
        try:
            return super().parse_args(ctx, args)
        except click.UsageError:
            if not ctx.resilient_parsing and (begin := _begin_of_command(typed)) is not None:
                raise _without_dashes(ctx.command_path, typed[:begin], typed[begin:]) from None
            raise

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Returns no parameters to a shell that completes a word after `--`, since this word belongs to the command there."""
        return [] if ctx.resilient_parsing and COMMAND_KEY in ctx.meta else super().get_params(ctx)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Returns what a shell completes. After `--` it completes a program and its arguments."""
        if COMMAND_KEY in ctx.meta:
            from detctl_cli.id_completion import complete_command

            return complete_command(ctx.meta[COMMAND_KEY], incomplete)
        return super().shell_complete(ctx, incomplete)

    after_dashes: ClassVar[str] = "COMMAND..."  # as the usage line names it

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), f"[-- {self.after_dashes}]"]


_INTERPRETERS = re.compile(
    r"(?:.*/)?(?:python[\d.]*|torchrun|accelerate|deepspeed|bash|sh|uv|poetry|make)|.*\.(?:py|sh)"
)


def _begin_of_command(args: Sequence[str]) -> int | None:
    """Returns which word starts a program that is named without `--`; None: no word does."""
    return next((at for at, word in enumerate(args) if _INTERPRETERS.fullmatch(word)), None)


def _without_dashes(command_path: str, options: Sequence[str], command: Sequence[str]) -> UsageError:
    program = [*(["python"] if command[0].endswith(".py") and "/" not in command[0] else []), *command]
    line = " ".join([command_path, *options, "--", *program])
    shown = " ".join(word for word in command[:2] if not word.startswith("-"))
    return UsageError(f"{shown} is not separated from detctl's own options", f"write: {line}")


def command_after_dashes() -> list[str] | None:
    """Returns the words after `--`: [] if there are none, None if there is no `--`."""
    found: list[str] | None = get_current_context().meta.get(COMMAND_KEY)
    return found


def _check_page(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
    if value is not None:
        from detctl_cli.reporters.verdict_html import check_writable

        check_writable(value)  # before anything runs
    return value


_JSON_HELP = "Print one JSON document on standard output."
QUIET_HELP = "Show no progress. Warnings and errors are still shown."


@dataclass(frozen=True)
class Output:
    """How a result is shown."""

    PANEL: ClassVar[str] = "Output"
    as_json: bool = option("--json", is_flag=True, help=_JSON_HELP)


@dataclass(frozen=True)
class TerminalOutput(Output):
    """How a verdict is shown on the terminal."""

    verbose: bool = option("-v", "--verbose", is_flag=True, help="List everything that was not observed.")
    quiet: bool = option("-q", "--quiet", is_flag=True, help=QUIET_HELP)

    def form(self) -> Form:
        """Returns the options as reporters take them."""
        from detctl_cli.reporters.verdict import Form

        return Form(self.as_json, self.verbose, quiet=self.quiet)


@dataclass(frozen=True)
class VerdictOutput(TerminalOutput):
    """How a verdict is shown, also as a page."""

    html: Path | None = option(
        "--html",
        metavar="FILE",
        type=click.Path(path_type=Path),
        callback=_check_page,
        help="Also write the result to FILE as one self-contained HTML page.",
    )

    def form(self) -> Form:
        return replace(super().form(), html=self.html)


TIMINGS_HELP = "Also show where the time went: starting, importing, training, ending and comparing, for each run."


@dataclass(frozen=True)
class AuditOutput(VerdictOutput):
    """How the verdict of an audit is shown, also with its times."""

    timings: bool = option("--timings", is_flag=True, help=TIMINGS_HELP)


_SERVICE_OPTIONS = (
    (
        "--coordinator",
        "ADDRESS",
        "Address of the coordinator: HOST:PORT or unix:PATH, with commas between replicas. The default is"
        " DETCTL_COORDINATOR, then the configuration file.",
    ),
    (
        "--tls",
        "DIR",
        "Folder with your certificate, key, authority and token, for a coordinator on another host. The default is"
        " DETCTL_TLS, then the configuration file.",
    ),
    (
        "--token-file",
        "FILE",
        "File with your token. The default is DETCTL_TOKEN_FILE, then the configuration file.",
    ),
)


def limit_option(noun: str, default: int) -> Callable[[F], F]:
    """Returns a decorator that adds --limit, for a list of these things."""
    return click.option(
        "--limit",
        metavar="N",
        type=click.IntRange(1, LIST_MAX),
        default=default,
        show_default=True,
        help=f"Largest number of {noun} to list. Older ones are left out.",
    )


def time_options(noun: str) -> Callable[[F], F]:
    """Returns a decorator that adds --since and --until, as seconds since 1970, for a list of these things. 0: not given."""

    def moment(ctx: click.Context, param: click.Parameter, value: str | None) -> float:
        from detctl_cli.output.times import moment_of

        try:
            return 0.0 if value is None else moment_of(value, time.time(), whole_day=param.name == "until_unix_s")
        except ValueError as problem:
            raise click.BadParameter(str(problem), ctx, param) from None

    def decorate(function: F) -> F:
        until = f"List only {noun} that started before TIME, or on that day or earlier."
        since = f"List only {noun} that started at TIME or later. TIME is an age such as 2d or 12h, or a date."
        function = click.option("--until", "until_unix_s", metavar="TIME", callback=moment, help=until)(function)
        return click.option("--since", "since_unix_s", metavar="TIME", callback=moment, help=since)(function)

    return decorate


def note_if_more(more: bool, shown: int, noun: str) -> None:
    """Writes to stderr that a list is not complete, if it is not."""
    from detctl_cli.output.terminal import note

    if more:
        note(f"only the newest {shown} are listed; a larger --limit or an earlier --until lists older {noun}")


def output_option(text: str, metavar: str = "DIR") -> Callable[[F], F]:
    """Returns a decorator that adds -o and --output, as `output`."""
    return click.option("-o", "--output", metavar=metavar, type=click.Path(path_type=Path), help=text)


def json_option(function: F) -> F:
    """Adds --json, as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help=_JSON_HELP)(function)


def service_options(function: F) -> F:
    """Adds --coordinator, --tls and --token-file. They are kept in the context's Settings and not passed on."""

    def keep(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
        if value is not None:
            setattr(ctx.ensure_object(Settings), str(param.name), value)

    for name, metavar, text in reversed(_SERVICE_OPTIONS):
        function = click.option(
            name, metavar=metavar, help=text, expose_value=False, callback=keep, panel="Coordinator"
        )(function)
    return click.option_panel("Options")(function)  # before the panel of the coordinator


def settings() -> Settings:
    """Returns the Settings of the running command."""
    return get_current_context().ensure_object(Settings)


@contextmanager
def service(report: Callable[[str], None] = lambda stage: None) -> Iterator[Coordinator]:
    """Yields the configured coordinator, else one over the data in ./.detctl or above. Raises CliError.

    report: gets what is happening, for people."""
    from detctl_cli.service.client import Coordinator

    config = settings().config()
    if config.coordinator is not None:
        with Coordinator(config) as coordinator:
            yield coordinator
        return
    from detctl_cli.local.session import has_local_data, stored_here

    if not has_local_data():
        raise not_configured("or change to a folder in or above which detctl audit -- COMMAND has run")
    report("opening the data of earlier audits")
    with stored_here() as coordinator:
        yield coordinator


def configured(hint: str = "") -> Coordinator:
    """Returns the configured coordinator. Raises CliError, with the command's own hint, if none is configured."""
    from detctl_cli.service.client import Coordinator

    config = settings().config()
    if config.coordinator is None:
        raise not_configured(hint)
    return Coordinator(config)


def not_configured(hint: str = "") -> CliError:
    """Returns the error for a command that needs a coordinator when none is configured."""
    ways = "name one with --coordinator, DETCTL_COORDINATOR or the configuration file"
    return CliError("configuration", "no coordinator is configured", f"{ways}{'; ' + hint if hint else ''}")
