"""Errors: the catalogue is complete, its labels are documented, and callers receive the public text alone."""

from __future__ import annotations

import logging
from pathlib import Path

import grpc
import pytest
from detctl_coordinator.errors.catalogue import CATALOGUE
from detctl_coordinator.errors.codes import Code, RefusedCallError
from detctl_coordinator.errors.translator import abort
from detctl_coordinator.storage.store import ConflictError, DocumentError, StoreError

OPERATIONS = Path(__file__).parents[3] / "docs" / "operations.md"


class FakeContext:
    """Keeps how a call ended."""

    ended: tuple[grpc.StatusCode, str]

    def peer(self) -> str:
        return "ipv4:192.0.2.7:4711"

    async def abort(self, status: grpc.StatusCode, text: str) -> None:
        self.ended = status, text
        raise grpc.aio.AbortError


@pytest.mark.parametrize("code", Code)
def test_each_code_is_in_the_catalogue_and_its_label_in_the_docs(code: Code):
    entry = CATALOGUE[code]
    assert entry.status.name == ("UNAVAILABLE" if code is Code.CONCURRENT_CHANGE else code.name)
    assert f"| `{entry.label}` | `{entry.status.name}` |" in OPERATIONS.read_text("utf-8")


@pytest.mark.parametrize(
    ("error", "status", "public", "logged"),
    [
        (RefusedCallError(Code.PERMISSION_DENIED, "not you", "sue"), "PERMISSION_DENIED", "not you", "private=sue"),
        (
            RefusedCallError(Code.NOT_FOUND, "no {run}"),
            "NOT_FOUND",
            "no {run}",
            "code=NOT_FOUND text=no {run} private=-",
        ),
        (DocumentError("row 3 {x}"), "DATA_LOSS", "the stored data cannot be read: row 3 {x}", "code=DAMAGED"),
        (ConflictError("v3"), "UNAVAILABLE", "another caller changed it at the same moment; try again", "private=v3"),
        (StoreError("full"), "UNAVAILABLE", "the coordinator's store does not answer: full", "code=STORE"),
        (KeyError("hunter2"), "INTERNAL", "internal error in the coordinator; its log has the details", "hunter2"),
    ],
)
async def test_an_exception_becomes_a_status_and_a_log_line(
    caplog: pytest.LogCaptureFixture, error: Exception, status: str, public: str, logged: str
):
    context = FakeContext()
    with caplog.at_level(logging.INFO), pytest.raises(grpc.aio.AbortError):
        await abort(context, error, "/detctl.v1.Audits/Show")
    assert context.ended == (grpc.StatusCode[status], public)
    assert logged in caplog.text
