"""A joined run records the window that its audit requests."""

from __future__ import annotations

import pytest
from detctl_cli.recordings.join import Join, options_of
from detctl_proto.syntax.windows import requested_window
from detctl_proto.v1 import audits_pb2


@pytest.mark.parametrize(("start", "end"), [(0, 32), (5, 9), (0, None), (5, None)])
def test_the_window_of_a_joined_run(start: int, end: int | None) -> None:
    run = audits_pb2.JoinReply(step_from=start, step_to=end or 0, level="module")
    options = options_of(run, Join("a1", "gpu1", None, False), copy=False, timeout_s=None, attach=None)
    assert requested_window(options.steps, options.to_end) == (start, end)
