"""The parser for JSON from outside: what it refuses, which place of the document it names, and what it repairs."""

from __future__ import annotations

import json
import math

import pytest
from detctl_proto.outside_json import DEPTH_MAX, JsonError, dump, parse, parse_object, writable
from hypothesis import given
from hypothesis import strategies as st

BYTES = 1 << 20


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": "\\ud800"}', "it: at .a: text with a lone surrogate or a NUL"),
        ('{"a": [1, {"b c": "x\\udfff"}]}', "it: at .a[1]['b c']: text with a lone surrogate"),
        ('{"\\ud800": 1}', "it: the key '\\ud800' holds a lone surrogate"),
        ('{"a": "\\u0000"}', "it: at .a: text with a lone surrogate or a NUL"),
        ('{"a": "\ud800"}', "it holds a lone surrogate: character 7"),
        (b'{"a": "\xff"}', "it is not UTF-8: byte 7"),
        ('{"a": 1e999}', "it: at .a: a number that is not finite"),
        ("[NaN]", "it: at [0]: a number that is not finite"),
        ("-Infinity", "it: a number that is not finite"),
        ("[" + "9" * 5000 + "]", "it: at [0]: a number that is not finite, or has too many digits"),
        ('{"a": 1, "a": 2}', "it: the key 'a' stands twice in one object"),
        ("[" * 980 + "]" * 980, f"it is nested deeper than {DEPTH_MAX} levels"),
        ("[" * 100_000, f"it is nested deeper than {DEPTH_MAX} levels"),
        ('{"a":' * 65 + "1" + "}" * 65, f"it is nested deeper than {DEPTH_MAX} levels"),
        ('{"a":', "it is not JSON: line 1, column 6"),
        ("", "it is not JSON: line 1, column 1"),
        ("\ufeff{}", "it is not JSON: line 1, column 1"),
        ("[" + " " * BYTES + "]", f"it has {BYTES + 2} bytes; at most {BYTES} are taken"),
    ],
)
def test_refused_with_one_line_that_names_the_place(text, message):
    with pytest.raises(JsonError) as refused:
        parse(text, "it", BYTES)
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 300
    str(refused.value).encode("utf-8")


def test_an_object_is_an_object():
    assert parse_object(b' {"a": [1, 2.5, null, true, "\xc3\xa9", "\\u00e9\\ud83d\\ude00"]}', "it", BYTES) == {
        "a": [1, 2.5, None, True, "é", "é😀"]
    }
    with pytest.raises(JsonError, match="it is not a JSON object"):
        parse_object("[]", "it", BYTES)
    deepest = "[" * DEPTH_MAX + "]" * DEPTH_MAX
    assert dump(parse(deepest, "it", BYTES), "it") == deepest


def test_repaired_facts_keep_all_that_is_usable():
    text = '{"a\\udc80": "x\\udcff\\u0000", "b": [NaN, 1e999, %s, {"c": "\\ud800"}], "d": 1, "d": 2}' % ("9" * 5000)
    assert parse_object(text, "it", BYTES, repair=True) == {
        "a\\udc80": "x\\udcff\\x00",
        "b": [None, None, None, {"c": "\\ud800"}],
        "d": 2,
    }
    with pytest.raises(JsonError, match="nested deeper"):  # there is nothing to put in place of depth
        parse("[" * 980 + "]" * 980, "it", BYTES, repair=True)


def test_what_cannot_be_read_back_is_not_written():
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    for value in (deep, math.nan, {"a": object()}):
        with pytest.raises(JsonError, match=r"^it "):
            dump(value, "it")


def test_file_names_become_writable():
    assert writable(b"caf\xe9.bin".decode("utf-8", "surrogateescape")) == "caf\\udce9.bin"
    assert writable("é\x00\n") == "é\\x00\n"


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters()), inner, max_size=3),
)


@given(anything)
def test_whatever_passes_can_be_written_everywhere(value):
    text = json.dumps(value)
    repaired = parse(text, "it", BYTES, repair=True)
    dumped = dump(repaired, "it")
    assert parse(dumped, "it", BYTES) == repaired
    json.dumps(repaired, ensure_ascii=False).encode("utf-8")
    try:
        strict = parse(text, "it", BYTES)
    except JsonError:
        return
    assert strict == repaired == value
