"""The entry point, and the only place that prints errors and chooses exit codes.

Commands return an Exit or raise CliError. Modules that are slow to import (grpc, rich) are imported inside the commands
that need them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

import click

from detctl_cli.errors import CliError, TerminatedError
from detctl_cli.exits import Exit
from detctl_cli.output.clean import clean
from detctl_cli.output.terminal import abandon_stdout, open_closed_streams, write_json


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code: 0 identical, 1 different, 2 trouble, 3 unverified, 130 Ctrl-C."""
    return _leave(_run(argv), argv)


def _run(argv: Sequence[str] | None) -> int:
    from detctl_cli.commands import detctl

    open_closed_streams()
    arguments = list(sys.argv[1:] if argv is None else argv)
    as_json = _wants_json(arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _terminate)
    try:
        result = detctl.main(args=arguments, prog_name="detctl", standalone_mode=False)
        sys.stdout.flush()
        return int(result) if isinstance(result, int) else Exit.IDENTICAL
    except CliError as problem:
        return _report(problem, as_json)
    except click.exceptions.NoArgsIsHelpError as problem:
        sys.stdout.write(problem.format_message() + "\n")
        return Exit.TROUBLE
    except click.UsageError as problem:
        where = problem.ctx.command_path if problem.ctx else "detctl"
        return _report(
            CliError("usage", problem.format_message().rstrip("."), f"{where} --help lists what is possible"), as_json
        )
    except click.ClickException as problem:
        return _report(CliError("usage", problem.format_message().rstrip(".")), as_json)
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _report(CliError("interrupted", "interrupted", exit_code=Exit.INTERRUPTED), as_json)
    except TerminatedError:
        return _report(CliError("terminated", "terminated", exit_code=Exit.TERMINATED), as_json)
    except BrokenPipeError:
        abandon_stdout()
        return Exit.TROUBLE
    except SystemExit as ended:
        # rich-click exits with 2 for wrong usage. click and rich exit with 1 for a broken pipe, which would mean "different".
        if ended.code == 1:
            abandon_stdout()
        elif not ended.code:
            return Exit.IDENTICAL  # click has printed what a shell completes
        return Exit.TROUBLE
    except UnicodeEncodeError as problem:
        # Bytes of the command line that are not UTF-8 become lone surrogates, which a message cannot contain.
        shown = ascii(str(problem.object)[:80])
        return _report(CliError("usage", f"{shown} is not UTF-8", "the coordinator accepts only UTF-8 text"), as_json)
    except OSError as problem:
        what = f"{problem.filename}: " if problem.filename else ""
        return _report(CliError("system", f"{what}{problem.strerror or problem}"), as_json)
    except Exception as problem:
        if os.environ.get("DETCTL_TRACEBACK"):
            raise
        text = f"detctl has a defect: {type(problem).__name__}: {problem}"
        return _report(CliError("defect", text, "set DETCTL_TRACEBACK=1 to see where, and please report it"), as_json)


def _leave(code: int, argv: Sequence[str] | None) -> int:
    """Ends the process without finalizing the interpreter, or returns the code to a caller inside Python (argv given).

    Finalizing interrupts gRPC's threads, which then print tracebacks, and its destructors may wait for ever after a signal
    (both seen). All clean-up is done by now.
    """
    if argv is None:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
    return code


def _wants_json(arguments: Sequence[str]) -> bool:
    """Returns whether --json is given before any `--`, even if the other arguments cannot be parsed."""
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in own


def _report(problem: CliError, as_json: bool) -> int:
    """Writes one line to stderr or, with --json, one document to stdout; also to stderr if stdout cannot be written."""
    from detctl_proto.security.redaction import redact_text  # takes 10 ms to import, and `--help` does not need it

    message, hint = clean(redact_text(problem.message)), clean(redact_text(problem.hint))
    try:
        if as_json:
            error = {"code": problem.code, "message": message, "hint": hint}
            write_json({"schema": "detctl.error/v1", "error": error})
            return problem.exit_code
        sys.stdout.flush()
    except OSError as trouble:
        abandon_stdout()
        if isinstance(trouble, BrokenPipeError) and as_json:
            return problem.exit_code  # the reader of stdout is gone
    sys.stderr.write(f"detctl: {message}{'; ' + hint if hint else ''}\n")
    return problem.exit_code


def _terminate(number: int, frame: FrameType | None) -> None:
    raise TerminatedError


if __name__ == "__main__":
    sys.exit(main())
