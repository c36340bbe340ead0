"""The entry point `detctl-coordinator`: reads options, opens the store and serves. An error is one line on stderr with exit code 2.

Modules that take long to import are imported in the functions that need them, so that --help and --version are fast.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from detctl_coordinator.observability.logs import write_line
from detctl_coordinator.storage.address import has_password, hidden

if TYPE_CHECKING:
    from detctl_coordinator.server.settings import Settings
    from detctl_coordinator.storage.store import Store

OK = 0
ERROR = 2
FILE = click.Path(path_type=Path)

_SETTINGS = {
    "help_option_names": ["-h", "--help"],
    # The same layout as that of detctl. A plain dictionary, because click.rich_config would import rich for every start.
    "rich_help_config": {
        "options_table_column_types": ["required", "opt_short", "opt_long", "metavar_short", "help"],
        "text_paragraph_linebreaks": "\n\n",
        "padding_helptext_first_line": (0, 0, 1, 0),
        "delimiter_comma": ", ",
    },
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the coordinator and returns its exit code: 0 after SIGTERM or SIGINT, 2 after an error."""
    try:
        return int(coordinator.main(args=argv, prog_name="detctl-coordinator", standalone_mode=False) or OK)
    except click.ClickException as error:
        return _error(f"{hidden(error.format_message()).rstrip('.')}; see detctl-coordinator --help")
    except click.Abort:
        return OK


def _version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if not value or ctx.resilient_parsing:
        return
    try:
        number = installed_version("detctl")
    except PackageNotFoundError:
        number = "unknown (not installed: running from a source tree)"
    click.echo(f"detctl-coordinator {number}")
    ctx.exit()


def _option(panel: str, name: str, metavar: str | None, text: str, **more: Any) -> Callable[..., Any]:
    """Returns a decorator for an option. Settings checks its value and holds its default."""
    return click.option(name, metavar=metavar, help=text, panel=panel, default=None, **more)


@click.command(context_settings=_SETTINGS)
@click.argument("command", required=False, type=click.Choice(["check", "copy", "health"]), metavar="[COMMAND]")
@_option(
    "Listening",
    "--listen",
    "ADDRESS",
    "Listen on HOST:PORT or unix:/path (default 127.0.0.1:7450). Port 0 chooses a free port. "
    "Other interfaces than loopback need --tls.",
)
@_option(
    "Listening",
    "--tls",
    "DIR",
    "Use tls.crt, tls.key and ca.crt from this folder (detctl ca init creates it). Callers need a certificate too.",
    type=FILE,
)
@_option(
    "Listening",
    "--token-file",
    "FILE",
    "Read the administrator's token from this file of mode 0600, which is created if it is missing. Only TCP needs it "
    "(default with --tls: DIR/token, else ~/.local/state/detctl/token).",
    type=FILE,
)
@_option(
    "Store", "--store", "STORE", "Store data in sqlite:FILE or redis://HOST:PORT/DB (default sqlite:detctl.sqlite)."
)
@_option(
    "Store",
    "--store-password-file",
    "FILE",
    "Read the password of the Redis store redis://USER@HOST:PORT/DB from this file of mode 0600. Every user of the host "
    "can read a password on the command line.",
    type=FILE,
)
@_option("Store", "--to", "STORE", "With copy: the empty store to copy to.")
@_option("Store", "--to-password-file", "FILE", "With copy: the file with the password of --to.", type=FILE)
@_option(
    "Store", "--allow-volatile-store", None, "Accept a Redis that keeps no data on disk or evicts keys.", is_flag=True
)
@_option("Store", "--max-age", "AGE", "Delete runs that are older than this, for example 30d or 12h (default: never).")
@_option(
    "Agents",
    "--machine-timeout",
    "S",
    "Fail an audit's runs if their machine is absent for S seconds (default 60).",
    type=float,
)
@_option(
    "Agents", "--lease", "S", "Repeat a machine's runs after S seconds without a heartbeat (default 20).", type=float
)
@_option("Agents", "--heartbeat", "S", "Seconds between two heartbeats of an agent (default 2).", type=float)
@_option("Limits of each caller", "--max-open-audits", "N", "Unfinished audits (default 50).", type=int)
@_option(
    "Limits of each caller", "--max-planned-runs", "N", "Unfinished runs of these audits (default 2000).", type=int
)
@_option(
    "Limits of each caller",
    "--max-streams",
    "N",
    "Open streams: an agent has two, an import has one (default 16).",
    type=int,
)
@_option("Limits of each caller", "--max-watch-calls", "N", "Audits that the caller watches (default 32).", type=int)
@_option(
    "Limits of each caller",
    "--max-calls",
    "N",
    "Other open calls (default 32). The coordinator's own user may have 20 times as much of each.",
    type=int,
)
@_option("Operation", "--metrics", "HOST:PORT", "Serve Prometheus metrics there in plain text (default: nowhere).")
@_option("Operation", "--health-socket", "PATH", "Serve health checks, and nothing else, on this socket.", type=FILE)
@_option(
    "Operation", "--log-level", "LEVEL", "Log records from this level: debug, info, warning or error (default info)."
)
@_option("Operation", "--ready-fd", "N", "Write the address to this descriptor when ready.", type=int)
@_option("Operation", "--ready-file", "FILE", "Write the address to this file when ready.", type=FILE)
@_option("Operation", "--exit-with-parent", None, "Stop when the parent process ends.", is_flag=True)
@_option("Operation", "--parent-pid", "PID", "Watch this parent process, if the caller knows its id.", type=int)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Show the version.",
    panel="Operation",
)
def coordinator(command: str | None, **options: Any) -> int:
    """Plan audits, store fingerprints, compare runs and find the causes of differences.

    Without COMMAND the coordinator serves until SIGTERM or Ctrl-C. COMMAND check opens the store, prints warnings and
    exits. COMMAND copy copies --store into the empty store --to, as a backup or restore. COMMAND health asks the
    coordinator at --health-socket whether it is well, and exits with 0 or 2.

    Every option can also be set by a variable: DETCTL_COORDINATOR_MAX_AGE is --max-age.

    Example: detctl-coordinator --listen 127.0.0.1:7450 --store redis://127.0.0.1:6379/0
    """  # fmt: skip
    from detctl_proto.log_lines import log_to_stderr
    from detctl_proto.security.credentials import CredentialsError
    from pydantic import ValidationError

    from detctl_coordinator.auth.token_file import TokenError
    from detctl_coordinator.server.listen import ListenError
    from detctl_coordinator.server.settings import Settings
    from detctl_coordinator.storage.store import StoreError

    for option in ("store", "to"):
        if has_password(options[option] or ""):
            write_line(
                f"warning: --{option} holds a password, which every user of this host can read in the list of processes: put the "
                f"address into DETCTL_COORDINATOR_{option.upper()}, or the password into a file of mode 0600 "
                f"(--{option}-password-file FILE)"
            )
    try:
        # A flag that is not given is False: its variable decides then.
        settings = Settings(
            **{name: value for name, value in options.items() if value is not None and value is not False}
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0]).replace("_", "-")
        return _error(hidden(f"--{name}: {first['msg'].removeprefix('Value error, ')} (got {first['input']!r})"))
    log_to_stderr(settings.log_level)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    try:
        return {"check": _check, "copy": _copy, "health": _health}.get(command or "", _serve)(settings)
    except (StoreError, TokenError, CredentialsError, ListenError) as error:
        return _error(str(error))
    except KeyboardInterrupt:
        return OK


def _serve(settings: Settings) -> int:
    import asyncio

    from detctl_coordinator.server import listen
    from detctl_coordinator.server.server import serve

    address = listen.parse(settings.listen, off_loopback=settings.tls is not None)
    store = _open(settings)
    try:
        for warning in store.check():
            write_line(f"warning: {warning}")
        asyncio.run(serve(settings, store, address))
    finally:
        store.close()
    return OK


def _open(settings: Settings) -> Store:
    from detctl_coordinator.storage.open_store import open_store

    return open_store(
        settings.store, allow_volatile=settings.allow_volatile_store, password_file=settings.store_password_file
    )


def _check(settings: Settings) -> int:
    """Opens the store as a coordinator does and prints what is wrong with it."""
    with closing(_open(settings)) as store:
        warnings = store.check()
    sys.stdout.write("".join(f"warning: {warning}\n" for warning in warnings) or "ok\n")
    return OK


def _copy(settings: Settings) -> int:
    """Copies all of --store into --to, for backup and restore."""
    from detctl_coordinator.storage.open_store import open_store
    from detctl_coordinator.storage.reading.copying import copy_store

    if settings.to is None:
        return _error("copy: name the store to copy to: --to sqlite:FILE or --to redis://HOST:PORT/DB")
    if settings.to == settings.store:
        return _error("copy: --store and --to name the same store")
    with (
        closing(  # the source may be volatile, because it is only read
            open_store(settings.store, allow_volatile=True, must_exist=True, password_file=settings.store_password_file)
        ) as source,
        closing(
            open_store(
                settings.to, allow_volatile=settings.allow_volatile_store, password_file=settings.to_password_file
            )
        ) as target,
    ):
        done = copy_store(source, target, write_line if sys.stderr.isatty() else lambda text: None)
    for problem in done.problems:
        write_line(f"warning: {problem}")
    result = f"{len(done.problems)} problems" if done.problems else "the copy is complete"
    sys.stdout.write(
        f"copied {done.audits} audits, {done.runs} runs ({done.segments} segments, {done.bytes:,} bytes), {done.machines} machines, "
        f"{done.tokens} tokens, {done.log_entries} log entries; {result}\n"
    )
    return ERROR if done.problems else OK


def _health(settings: Settings) -> int:
    """Asks the coordinator on this host whether it is well, for an exec probe."""
    from detctl_coordinator.observability.health import check_health

    if settings.health_socket is None:
        return _error("health: name the socket of the coordinator that runs here: --health-socket PATH")
    why = check_health(settings.health_socket)
    return _error(why) if why else OK


def _error(text: str) -> int:
    write_line(f"detctl-coordinator: {text}")
    return ERROR


if __name__ == "__main__":
    sys.exit(main())
