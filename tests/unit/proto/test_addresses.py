"""Addresses of a coordinator: all three programs parse and judge them alike."""

from __future__ import annotations

import pytest
from detctl_proto.addresses import DEFAULT_ADDRESS, is_loopback, join_address, split_address
from detctl_proto.call_metadata import bearer, token_in


@pytest.mark.parametrize("text", [DEFAULT_ADDRESS, "localhost:0", "[::1]:7450", "coordinator.example:65535"])
def test_addresses(text: str) -> None:
    assert join_address(*split_address(text)) == text


@pytest.mark.parametrize("text", ["", ":1", "x", "x:", "x:-1", "x:65536", "x:²", "x:1 "])
def test_texts_that_are_not_addresses(text: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        split_address(text)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "127.1.2.3", "::1"])
def test_hosts_that_are_this_one(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["", "0.0.0.0", "10.0.0.1", "::", "example.org", "localhost.example.org", "127.0.0.1.nip.io"]
)
def test_hosts_that_plain_text_does_not_go_to(host: str) -> None:
    assert not is_loopback(host)


def test_a_token_in_the_metadata_of_a_call() -> None:
    assert token_in(bearer("dct_x")[1]) == "dct_x"
    assert token_in("") == token_in("Basic x") == token_in("Bearer") == ""
