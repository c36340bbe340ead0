"""Which programs a command starts, and what its output shows."""

from __future__ import annotations

from typing import Any

import pytest
from detctl_probe.observe.outside.commands import digests, lists_by_time, lists_unsorted, programs


@pytest.mark.parametrize(
    ("args", "shell", "names", "draws"),
    [
        (["shuf", "ids.txt"], False, ["shuf"], True),
        (["/usr/bin/shuf", "--random-source=seed", "ids.txt"], False, ["shuf"], False),
        ("cat ids.txt | sort -R | head -5", True, ["cat", "sort", "head"], True),
        ("LC_ALL=C sort ids.txt", True, ["sort"], False),
        (["bash", "-c", "ls | shuf"], False, ["ls", "shuf"], True),
        (["git", "rev-parse", "HEAD"], False, ["git"], False),
        ("echo $RANDOM", True, ["echo"], True),
        (["openssl", "rand", "-hex", "8"], False, ["openssl"], True),
        ("awk 'BEGIN{srand()} {print rand(), $0}' ids.txt | sort -n", True, ["awk", "sort"], True),
        (["perl", "-MList::Util=shuffle", "-e", "print shuffle(<>)"], False, ["perl"], True),
        (["sort", "-r", "ids.txt"], False, ["sort"], False),
    ],
)
def test_programs(args: Any, shell: bool, names: list[str], draws: bool) -> None:
    assert programs(args, shell) == (names, draws)


def test_an_order_and_another_content_are_told_apart() -> None:
    one, moved, other = digests("a\nb\n"), digests(b"b\na\n"), digests("a\nc\n")
    assert one["digest"] != moved["digest"] and one["unordered"] == moved["unordered"] != other["unordered"]


@pytest.mark.parametrize(
    ("args", "shell", "unsorted"),
    [
        (["find", "data", "-name", "*.txt"], False, True),
        ("find data | sort", True, False),
        (["ls", "data"], False, False),
        (["ls", "-1U", "data"], False, True),
        ("ls -f data | head", True, True),
        (["git", "ls-files"], False, False),
    ],
)
def test_commands_that_print_names_in_the_order_of_the_file_system(args: Any, shell: bool, unsorted: bool) -> None:
    assert lists_unsorted(args, shell) is unsorted


@pytest.mark.parametrize(
    ("args", "by_time"),
    [("ls -tr d | head -3", True), ("ls -1 d", False), ("ls --color d", False), ("find d | sort -t:", False)],
)
def test_commands_that_print_names_by_time(args: str, by_time: bool) -> None:
    assert lists_by_time(args, True) is by_time
