"""Options that commands share, and the service that they lead to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import rich_click as click
from click import get_current_context
from detctl_proto.limits import EXPERIMENTS_DEFAULT, RUNS_MAX

from detctl_cli.config import Config, load_config
from detctl_cli.errors import CliError

if TYPE_CHECKING:
    from detctl_cli.service.client import Coordinator

F = TypeVar("F", bound=Callable[..., object])

COMMAND_KEY = "detctl.command"
WAIT_S = 300.0


@dataclass
class Settings:
    """Flags that say where the coordinator is; those of the command stand over those of `detctl`."""

    coordinator: str | None = None
    token_file: str | None = None
    tls: str | None = None

    def config(self) -> Config:
        """Flags over variables over file. Raises CliError."""
        return load_config(self.coordinator, self.token_file, self.tls)


class DashCommand(click.RichCommand):
    """Keeps what follows `--` apart: `audit -- python train.py` is not `audit python train.py`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            at = args.index("--")
            ctx.meta[COMMAND_KEY] = args[at + 1 :]
            args = args[:at]
        return super().parse_args(ctx, args)


def command_after_dashes() -> list[str] | None:
    """What followed `--`, [] where nothing did, None where there was no `--`."""
    found: list[str] | None = get_current_context().meta.get(COMMAND_KEY)
    return found


def json_option(function: F) -> F:
    """--json, as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")(function)


def verbose_option(function: F) -> F:
    """-v and --verbose, as `verbose`: all that was not observed, also what no run of this version observes."""
    text = "Say all that was not observed."
    return click.option("-v", "--verbose", "verbose", is_flag=True, help=text)(function)


def html_option(function: F) -> F:
    """--html, as `html`: checked before anything runs."""

    def checked(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
        from detctl_cli.reporters.verdict_html import check_writable

        if value is not None:
            check_writable(value)
        return value

    return click.option(
        "--html", "html", metavar="FILE", type=click.Path(path_type=Path), callback=checked,
        help="Write the verdict as one page, too.",
    )(function)  # fmt: skip


def wait_option(function: F) -> F:
    """--wait, as `wait_s`."""
    return click.option(
        "--wait", "wait_s", metavar="SECONDS", type=click.FloatRange(0), default=WAIT_S, show_default=True,
        help="How long to keep trying while the coordinator is away.",
    )(function)  # fmt: skip


def experiment_options(function: F) -> F:
    """--budget-runs, --self-test."""
    function = click.option(
        "--self-test",
        "self_test",
        is_flag=True,
        help="Show that the audit can be believed: a run without instruments ends in the same weights, planted faults are found.",
    )(function)
    return click.option(
        "--budget-runs", "budget_runs", metavar="N", type=click.IntRange(1, RUNS_MAX), show_default=str(EXPERIMENTS_DEFAULT),
        help="With experiments: at most N runs of them.",
    )(function)  # fmt: skip


def service_options(function: F) -> F:
    """--coordinator, --tls and --token-file, kept in the context's Settings and not passed on."""

    def keep(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
        if value is not None:
            setattr(ctx.ensure_object(Settings), str(param.name), value)

    for name, metavar, text in (
        ("--token-file", "FILE", "File with the coordinator's token."),
        ("--tls", "DIR", "Folder with certificate, key, authority and token."),
        ("--coordinator", "ADDRESS", "HOST:PORT or unix:PATH of the coordinator; replicas with commas."),
    ):
        function = click.option(name, metavar=metavar, help=text, expose_value=False, callback=keep)(function)
    return function


def settings() -> Settings:
    """The Settings of the running command."""
    return get_current_context().ensure_object(Settings)


@contextmanager
def service() -> Iterator[Coordinator]:
    """The configured coordinator, else one started for this call over the data in ./.detctl. Raises CliError."""
    from detctl_cli.service.client import Coordinator

    config = settings().config()
    if config.coordinator is not None:
        with Coordinator(config) as coordinator:
            yield coordinator
        return
    from detctl_cli.local.session import has_local_data, stored_here

    if not has_local_data():
        raise not_configured()
    with stored_here() as coordinator:
        yield coordinator


def not_configured(hint: str = "") -> CliError:
    """No coordinator is configured and nothing was audited in this folder."""
    ways = "name one with --coordinator, DETCTL_COORDINATOR or the configuration file"
    return CliError("configuration", "no coordinator is configured", f"{ways}{'; ' + hint if hint else ''}")


def names(text: str | None) -> list[str]:
    """`a,b` as a list without blanks and doubles."""
    return list(dict.fromkeys(part.strip() for part in (text or "").split(",") if part.strip()))


def configured(hint: str = "") -> Coordinator:
    """The configured coordinator. Raises CliError where none is, with a hint of the command's own."""
    from detctl_cli.service.client import Coordinator

    config = settings().config()
    if config.coordinator is None:
        raise not_configured(hint)
    return Coordinator(config)
