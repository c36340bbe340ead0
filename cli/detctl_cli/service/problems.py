"""gRPC's errors in a user's words."""

from __future__ import annotations

import re
from pathlib import Path

import grpc

from detctl_cli.errors import CliError
from detctl_cli.exits import Exit
from detctl_cli.output.clean import clean

# As gRPC 1.63 to 1.76 describes a handshake that failed, and a connection in plain text that the other side ended.
_HANDSHAKE = re.compile(r"ssl handshake|tls handshake|handshake failed|verification check|certificate", re.IGNORECASE)
_CERTIFICATE = re.compile(
    r"CERTIFICATE_VERIFY_FAILED: [a-z ]{0,80}|[Hh]ostname [^\n\]}.]{0,120}|Peer name [^\n\]}]{0,80}"
)
_CLOSED = re.compile(
    r"connection reset|socket closed|connection closed|transport closed|endpoint closed", re.IGNORECASE
)
_WORDS = {
    grpc.StatusCode.INVALID_ARGUMENT: "invalid",
    grpc.StatusCode.NOT_FOUND: "not-found",
    grpc.StatusCode.ALREADY_EXISTS: "exists",
    grpc.StatusCode.PERMISSION_DENIED: "denied",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "limit",
    grpc.StatusCode.UNIMPLEMENTED: "version",
    grpc.StatusCode.DEADLINE_EXCEEDED: "slow",
}


def unreachable(address: str, detail: str = "", *, tls: bool = False) -> CliError:
    """Nobody answers at `address`; detail: gRPC's words, where it has some; tls: whether we showed a certificate."""
    closed = _CLOSED.search(detail)
    if tls and (closed or _HANDSHAKE.search(detail)):
        why = _CERTIFICATE.search(detail)
        return CliError(
            "tls",
            f"the coordinator at {address} and --tls do not accept each other{f': {why[0]}' if why else ''}",
            "both certificates must come from one authority, and the coordinator's must name this host (detctl ca server)",
        )
    if closed:
        return CliError(
            "unreachable",
            f"something answers at {address}, but not in plain text",
            "if the coordinator listens with --tls, give --tls DIR (detctl token create -o DIR makes it)",
        )
    listen = address if address.startswith("unix:") else address.replace("localhost", "127.0.0.1")
    return CliError(
        "unreachable",
        f"no coordinator answers at {address}" + (f" ({clean(detail)})" if detail else ""),
        f"start one: detctl-coordinator --listen {listen}",
    )


def unauthenticated(address: str, token_file: Path) -> CliError:
    """The token is missing or not the coordinator's."""
    state = "was refused" if token_file.exists() else "does not exist"
    return CliError(
        "unauthenticated",
        f"the coordinator at {address} wants its token, and the token file {token_file} {state}",
        "name the coordinator's own with --token-file or DETCTL_TOKEN_FILE",
    )


def from_rpc(error: grpc.RpcError, address: str, token_file: Path, no_data: Exit = Exit.TROUBLE) -> CliError:
    """What a failed call means. The coordinator's own words are kept: they are written for users.

    no_data: the exit code where the names are right and the data is not there.
    """
    status: grpc.StatusCode = error.code()
    details = clean(error.details() or "")
    if status is grpc.StatusCode.UNAVAILABLE:
        # A store that is gone is UNAVAILABLE too, with the coordinator's words; gRPC's own begin otherwise.
        return unreachable(address) if _is_transport(details) else CliError("unavailable", details)
    if status is grpc.StatusCode.UNAUTHENTICATED:
        return unauthenticated(address, token_file)
    if status is grpc.StatusCode.UNIMPLEMENTED:
        return CliError("version", f"the coordinator at {address} does not know this request", "update the coordinator")
    if status is grpc.StatusCode.DATA_LOSS:
        return CliError("damaged", details or "data is damaged", exit_code=Exit.UNVERIFIED)
    if status is grpc.StatusCode.FAILED_PRECONDITION:
        return CliError("no-data", details, exit_code=no_data)
    if status is grpc.StatusCode.DEADLINE_EXCEEDED:
        return CliError("slow", f"the coordinator at {address} did not answer in time", "try again; see its log")
    return CliError(_WORDS.get(status, "coordinator"), details or f"the coordinator at {address} failed: {status.name}")


def is_gone(error: grpc.RpcError) -> bool:
    """Whether the call may succeed against the same coordinator once it is back."""
    return error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNKNOWN)


# How gRPC's own descriptions of a lost connection begin; the coordinator's words (a store that is gone) begin otherwise.
_TRANSPORT = re.compile(
    r"(failed to connect|socket|connection|goaway|too_many_pings|dns|name resolution|stream removed|cancelling all"
    r"|channel|endpoint|recvmsg|sendmsg|transport|ipv[46]:|unix:)",
    re.IGNORECASE,
)


def _is_transport(details: str) -> bool:
    return not details or _TRANSPORT.match(details) is not None
