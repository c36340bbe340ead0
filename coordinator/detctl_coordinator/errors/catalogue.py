"""What each code means to a caller: its gRPC status and its public text."""

from __future__ import annotations

from typing import NamedTuple

from grpc import StatusCode

from detctl_coordinator.errors.codes import Code


class Entry(NamedTuple):
    """One code.

    The CLI picks its exit code by `status`: 2 for NOT_FOUND and INVALID_ARGUMENT, 3 for FAILED_PRECONDITION and DATA_LOSS.
    """

    status: StatusCode
    label: str  # of the metric and of log lines: an interface, so it keeps its first spelling (docs/operations.md)
    public_text: str = "{detail}"  # what the caller receives; {detail} is the text of the exception


CATALOGUE = {
    Code.UNAUTHENTICATED: Entry(StatusCode.UNAUTHENTICATED, "WHO"),
    Code.PERMISSION_DENIED: Entry(StatusCode.PERMISSION_DENIED, "NOT_YOURS"),
    Code.INVALID_ARGUMENT: Entry(StatusCode.INVALID_ARGUMENT, "INVALID"),
    Code.NOT_FOUND: Entry(StatusCode.NOT_FOUND, "NOT_FOUND"),
    Code.ALREADY_EXISTS: Entry(StatusCode.ALREADY_EXISTS, "TAKEN"),
    Code.FAILED_PRECONDITION: Entry(StatusCode.FAILED_PRECONDITION, "NOT_NOW"),
    Code.RESOURCE_EXHAUSTED: Entry(StatusCode.RESOURCE_EXHAUSTED, "TOO_MUCH"),
    Code.DATA_LOSS: Entry(StatusCode.DATA_LOSS, "DAMAGED", "the stored data cannot be read: {detail}"),
    Code.CONCURRENT_CHANGE: Entry(
        StatusCode.UNAVAILABLE, "STORE", "another caller changed it at the same moment; try again"
    ),
    Code.UNAVAILABLE: Entry(StatusCode.UNAVAILABLE, "STORE", "the coordinator's store does not answer: {detail}"),
    Code.INTERNAL: Entry(StatusCode.INTERNAL, "INTERNAL", "internal error in the coordinator; its log has the details"),
}
