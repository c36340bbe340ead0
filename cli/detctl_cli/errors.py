"""Errors that users see. Each names what is wrong, where, and what to do."""

from __future__ import annotations

from detctl_cli.exits import Exit


class CliError(Exception):
    """Ends the command with one line on stderr, or with `detctl.error/v1` on stdout if --json is given.

    code: a word for programs, such as `usage` or `unreachable`. message: what is wrong and where. hint: what to do; may be
    empty.
    """

    def __init__(self, code: str, message: str, hint: str = "", exit_code: Exit = Exit.TROUBLE) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.exit_code = exit_code


class UsageError(CliError):
    """The command line names something that does not exist, or options that exclude each other."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__("usage", message, hint)


class TerminatedError(BaseException):
    """SIGTERM or SIGHUP arrived: clean up as for Ctrl-C. It is a BaseException, so that no handler swallows it."""
