"""Translates errors of gRPC to errors for users."""

from __future__ import annotations

import re
from pathlib import Path

import grpc

from detctl_cli.errors import CliError
from detctl_cli.exits import Exit
from detctl_cli.output.clean import clean

# How gRPC 1.63 to 1.76 describes a failed handshake, and a connection in plain text that the server closed.
_HANDSHAKE = re.compile(r"ssl handshake|tls handshake|handshake failed|verification check|certificate", re.IGNORECASE)
_CERTIFICATE = re.compile(
    r"CERTIFICATE_VERIFY_FAILED: [a-z ]{0,80}|[Hh]ostname [^\n\]}.]{0,120}|Peer name [^\n\]}]{0,80}"
)
_CLOSED = re.compile(
    r"connection reset|socket closed|connection closed|transport closed|endpoint closed", re.IGNORECASE
)
_CODES = {
    grpc.StatusCode.INVALID_ARGUMENT: "invalid",
    grpc.StatusCode.NOT_FOUND: "not-found",
    grpc.StatusCode.ALREADY_EXISTS: "exists",
    grpc.StatusCode.PERMISSION_DENIED: "denied",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "limit",
    grpc.StatusCode.UNIMPLEMENTED: "version",
    grpc.StatusCode.DEADLINE_EXCEEDED: "slow",
}


def unreachable(address: str, detail: str = "", *, tls: bool = False) -> CliError:
    """Returns the error for a coordinator that does not answer. detail: the message of gRPC; tls: whether --tls was used."""
    closed = _CLOSED.search(detail)
    if tls and (closed or _HANDSHAKE.search(detail)):
        why = _CERTIFICATE.search(detail)
        return CliError(
            "tls",
            f"the certificates of --tls and of the coordinator at {address} do not match{f': {why[0]}' if why else ''}",
            "both must come from the same authority, and the coordinator's must contain its address (see detctl ca server)",
        )
    if closed:
        return CliError(
            "unreachable",
            f"the server at {address} does not accept plain text",
            "if the coordinator uses TLS, add --tls DIR (detctl token create -o DIR creates it)",
        )
    listen = address if address.startswith("unix:") else address.replace("localhost", "127.0.0.1")
    return CliError(
        "unreachable",
        f"no coordinator answers at {address}" + (f" ({clean(detail)})" if detail else ""),
        f"start one with detctl-coordinator --listen {listen}",
    )


def unauthenticated(address: str, token_file: Path) -> CliError:
    """Returns the error for a token that is missing or wrong."""
    state = "was refused" if token_file.exists() else "does not exist"
    return CliError(
        "unauthenticated",
        f"the coordinator at {address} requires a token, and the token file {token_file} {state}",
        "name the right file with --token-file or DETCTL_TOKEN_FILE",
    )


def from_rpc(error: grpc.RpcError, address: str, token_file: Path, no_data: Exit = Exit.TROUBLE) -> CliError:
    """Returns the error for a failed call. It keeps the message of the coordinator, which is written for users.

    no_data: the exit code if the names are right, but there is no data.
    """
    status: grpc.StatusCode = error.code()
    details = clean(error.details() or "")
    if status is grpc.StatusCode.UNAVAILABLE:
        # A missing store is UNAVAILABLE too, with a message of the coordinator. Messages of gRPC begin differently.
        return unreachable(address) if _is_transport(details) else CliError("unavailable", details)
    if status is grpc.StatusCode.UNAUTHENTICATED:
        return unauthenticated(address, token_file)
    if status is grpc.StatusCode.UNIMPLEMENTED:
        return CliError("version", f"the coordinator at {address} does not know this request", "update the coordinator")
    if status is grpc.StatusCode.DATA_LOSS:
        return CliError(
            "damaged", details or f"data of the coordinator at {address} is damaged", exit_code=Exit.UNVERIFIED
        )
    if status is grpc.StatusCode.FAILED_PRECONDITION:
        return CliError("no-data", details, exit_code=no_data)
    if status is grpc.StatusCode.DEADLINE_EXCEEDED:
        return CliError("slow", f"the coordinator at {address} did not answer in time", "try again, or see its log")
    return CliError(_CODES.get(status, "coordinator"), details or f"the coordinator at {address} failed: {status.name}")


def is_gone(error: grpc.RpcError) -> bool:
    """Returns whether the call may succeed when the coordinator answers again."""
    return error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNKNOWN)


# How messages of gRPC on a lost connection begin. Those of the coordinator (about a missing store) begin differently.
_TRANSPORT = re.compile(
    r"(failed to connect|socket|connection|goaway|too_many_pings|dns|name resolution|stream removed|cancelling all"
    r"|channel|endpoint|recvmsg|sendmsg|transport|ipv[46]:|unix:)",
    re.IGNORECASE,
)


def _is_transport(details: str) -> bool:
    return not details or _TRANSPORT.match(details) is not None
