"""The form of names, and texts that are put into it."""

from __future__ import annotations

import pytest
from detctl_proto.syntax.names import PLACEHOLDER, is_name, machine_name, to_name


@pytest.mark.parametrize("text", ["a", "gpu-1.example_2", "0", "a" * 64])
def test_names(text: str) -> None:
    assert is_name(text)


@pytest.mark.parametrize("text", ["", "-a", ".", "A", "a b", "a/b", "a\n", "ä", "²", "a" * 65])
def test_texts_that_are_not_names(text: str) -> None:
    assert not is_name(text)
    assert is_name(to_name(text, "other"))


def test_texts_are_put_into_the_form_of_names() -> None:
    assert to_name("My Train", "x") == "my-train"
    assert to_name("--", "x") == "x"
    assert to_name("a" * 99, "x", 56) == "a" * 56
    assert is_name(machine_name())


def test_only_what_looks_like_a_parameter_is_a_placeholder() -> None:
    assert PLACEHOLDER.findall('{data} {"a": 1} {a.b-c} {ä} {' + "n" * 65 + "}") == ["data", "a.b-c"]
