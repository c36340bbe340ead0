"""One syntax for windows of steps and shares of step time, on the command line and in the agent."""

from __future__ import annotations

import pytest
from detctl_proto.syntax.windows import DEFAULT_STEPS, WindowError, parse_share, parse_steps, requested_window


@pytest.mark.parametrize(
    ("text", "window"), [("0:32", (0, 32)), ("5:", (5, None)), (":8", (0, 8)), ("0:", (0, None)), (" 2:9 ", (2, 9))]
)
def test_windows(text: str, window: tuple[int, int | None]) -> None:
    assert parse_steps(text) == window


@pytest.mark.parametrize("text", ["", ":", "5", "8:8", "9:3", "a:b", "-1:4", "1:-3", "1:2:3", "²:4", "0:9999999999"])
def test_texts_that_are_not_windows(text: str) -> None:
    with pytest.raises(WindowError) as caught:
        parse_steps(text)
    assert caught.value.message and caught.value.hint


def test_steps_and_to_end_together() -> None:
    assert requested_window(None, False) == (0, DEFAULT_STEPS)
    assert requested_window(None, True) == (0, None)
    assert requested_window("4:9", False) == (4, 9)
    assert requested_window("4:", True) == requested_window("4:", False) == (4, None)
    with pytest.raises(WindowError):
        requested_window("4:9", True)


def test_shares() -> None:
    assert parse_share("2%") == parse_share(" 2 % ") == parse_share("0.02") == 0.02
    assert parse_share(repr(0.00001)) == 0.00001


@pytest.mark.parametrize("text", ["", "%", "0", "100%", "1", "-2%", "nan", "inf", "2%%", "two"])
def test_texts_that_are_not_shares(text: str) -> None:
    with pytest.raises(WindowError):
        parse_share(text)
