"""`detctl-coordinator`: reads flags, opens the store, serves. Trouble is one line on stderr and exit code 2."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NoReturn

from detctl_proto.credentials import CredentialsError
from detctl_proto.log_lines import log_to_stderr
from pydantic import ValidationError

from detctl_coordinator.auth.token_file import TokenError
from detctl_coordinator.observability.health import check_health
from detctl_coordinator.observability.logs import write_line
from detctl_coordinator.server import listen
from detctl_coordinator.server.server import serve
from detctl_coordinator.server.settings import Settings
from detctl_coordinator.storage.address import has_password, hidden
from detctl_coordinator.storage.open_store import open_store
from detctl_coordinator.storage.reading.copying import copy_store
from detctl_coordinator.storage.store import Store, StoreError

TROUBLE = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0 after SIGTERM or SIGINT, 2 on trouble."""
    flags = vars(_parser().parse_args(argv))
    command = flags.pop("command", None)
    for flag in ("store", "to"):
        if has_password(flags[flag] or ""):
            write_line(
                f"warning: --{flag} holds a password, which every user of this host can read in the list of processes: put the "
                f"address into DETCTL_COORDINATOR_{flag.upper()}, or the password into a file of mode 0600 (--{flag}-password-file FILE)"
            )
    try:
        settings = Settings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0]).replace("_", "-")
        return _trouble(hidden(f"--{name}: {first['msg'].removeprefix('Value error, ')} (got {first['input']!r})"))
    log_to_stderr(settings.log_level)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    try:
        return {"check": _check, "copy": _copy, "health": _health}.get(command or "", _serve)(settings)
    except (StoreError, TokenError, CredentialsError, listen.ListenError) as error:
        return _trouble(str(error))
    except KeyboardInterrupt:
        return 0


def _serve(settings: Settings) -> int:
    address = listen.parse(settings.listen, off_loopback=settings.tls is not None)
    store = _store(settings)
    try:
        for warning in store.check():
            write_line(f"warning: {warning}")
        asyncio.run(serve(settings, store, address))
    finally:
        store.close()
    return 0


def _store(settings: Settings) -> Store:
    return open_store(
        settings.store, allow_volatile=settings.allow_volatile_store, password_file=settings.store_password_file
    )


def _check(settings: Settings) -> int:
    """Opens the store as a coordinator would and says what is wrong with it."""
    store = _store(settings)
    try:
        warnings = store.check()
    finally:
        store.close()
    for warning in warnings:
        sys.stdout.write(f"warning: {warning}\n")
    if not warnings:
        sys.stdout.write("ok\n")
    return 0


def _copy(settings: Settings) -> int:
    """Backup and restore: everything of --store into --to."""
    if settings.to is None:
        return _trouble("copy: name the store to copy to: --to sqlite:FILE or --to redis://HOST:PORT/DB")
    if settings.to == settings.store:
        return _trouble("copy: --store and --to name the same store")
    with (
        closing(
            open_store(settings.store, allow_volatile=True, must_exist=True, password_file=settings.store_password_file)
        ) as source,  # it is only read
        closing(
            open_store(
                settings.to, allow_volatile=settings.allow_volatile_store, password_file=settings.to_password_file
            )
        ) as target,
    ):
        done = copy_store(source, target, write_line if sys.stderr.isatty() else lambda text: None)
    for problem in done.problems:
        write_line(f"warning: {problem}")
    sys.stdout.write(
        f"copied {done.audits} audits, {done.runs} runs ({done.segments} segments, {done.bytes:,} bytes), {done.machines} machines, "
        f"{done.tokens} tokens, {done.log_entries} log entries; "
        + ("read back and sound\n" if not done.problems else f"{len(done.problems)} sealed runs are not sound\n")
    )
    return TROUBLE if done.problems else 0


def _health(settings: Settings) -> int:
    """For an exec probe: asks the coordinator that runs here."""
    if settings.health_socket is None:
        return _trouble("health: name the socket of the coordinator that runs here: --health-socket PATH")
    why = check_health(settings.health_socket)
    return _trouble(why) if why else 0


def _trouble(text: str) -> int:
    write_line(f"detctl-coordinator: {text}")
    return TROUBLE


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """As always, less the passwords that a mistyped command line holds."""
        super().error(hidden(message))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="detctl-coordinator",
        description="Plans audits, stores fingerprints, compares and attributes. Every flag is also a variable DETCTL_COORDINATOR_*.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "command",
        nargs="?",
        choices=["check", "copy", "health"],
        help="check: open the store, print warnings, exit; copy: all of --store into --to, an empty one (backup, restore); "
        "health: ask the coordinator on --health-socket, exit 0 or 2",
    )
    parser.add_argument(
        "--listen",
        metavar="ADDRESS",
        help="HOST:PORT or unix:/path (127.0.0.1:7450); off loopback with --tls alone; port 0: any",
    )
    parser.add_argument("--store", metavar="STORE", help="sqlite:FILE or redis://HOST:PORT/DB (sqlite:detctl.sqlite)")
    parser.add_argument(
        "--store-password-file",
        type=Path,
        metavar="FILE",
        help="the password of a Redis (redis://USER@HOST:PORT/DB), 0600: a command line is seen by every user of the host",
    )
    parser.add_argument("--to", metavar="STORE", help="with copy: the store to copy to")
    parser.add_argument("--to-password-file", type=Path, metavar="FILE", help="with copy: the password of --to")
    parser.add_argument(
        "--tls",
        type=Path,
        metavar="DIR",
        help="tls.crt, tls.key, ca.crt (detctl ca init): callers need a certificate too",
    )
    parser.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="an administrator's token, 0600; made when missing; TCP alone needs it (with --tls: DIR/token)",
    )
    parser.add_argument(
        "--metrics", metavar="HOST:PORT", help="answer Prometheus there, in plain text; default: nowhere"
    )
    parser.add_argument(
        "--health-socket", type=Path, metavar="PATH", help="answer health checks, and nothing else, on this Unix socket"
    )
    parser.add_argument(
        "--allow-volatile-store", action="store_true", default=None, help="take a Redis that keeps nothing on disk"
    )
    parser.add_argument("--max-age", metavar="AGE", help="forget runs older than this (30d, 12h); default: never")
    parser.add_argument(
        "--machine-timeout", type=float, metavar="S", help="how long an audit waits for an absent machine (60)"
    )
    parser.add_argument(
        "--lease", type=float, metavar="S", help="silence after which a machine's runs are given to a new attempt (20)"
    )
    parser.add_argument("--heartbeat", type=float, metavar="S", help="how often agents report (2)")
    for flag, what in (
        ("--max-open-audits", "audits that one caller may have open (50)"),
        ("--max-planned-runs", "runs that are not over in these audits (2000)"),
        ("--max-streams", "streams of one caller at a time: agents have two, an import one (16)"),
        ("--max-watch-calls", "audits that one caller may follow at a time (32)"),
        ("--max-calls", "other calls of one caller at a time (32)"),
    ):
        parser.add_argument(flag, type=int, metavar="N", help=f"{what}; this coordinator's own user: 20 times as many")
    parser.add_argument("--log-level", metavar="LEVEL", help="debug, info, warning or error (info)")
    parser.add_argument("--ready-fd", type=int, metavar="N", help="write the address to this descriptor when ready")
    parser.add_argument("--ready-file", type=Path, metavar="FILE", help="write the address to this file when ready")
    parser.add_argument(
        "--exit-with-parent", action="store_true", default=None, help="stop when the parent process ends"
    )
    parser.add_argument("--parent-pid", type=int, metavar="PID", help="the parent to watch, where the caller knows it")
    return parser


if __name__ == "__main__":
    sys.exit(main())
