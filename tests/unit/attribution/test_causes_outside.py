"""Causes outside the training: the clock, paths, commands, databases, times of files, memory without content."""

from __future__ import annotations

from typing import Any

import pytest
from detctl_coordinator.attribution.evidence.settings.command_options import interpreter_suspects
from detctl_coordinator.domain.verdict import Verdict

from tests.support.judged_runs import MODEL, across, judged, within
from tests.support.memory_runs import RunBuilder

AT = {"file": "{cwd}/train.py", "line": 7, "code": "part = f()"}


def noted(kind: str, stages: tuple[str, ...] = ("batch", *MODEL), **fields: Any) -> Verdict:
    """Twins that differ from these stages on. A field that is a list has one value for each twin."""

    def change(b: RunBuilder, twin: int) -> RunBuilder:
        own = {key: value[twin] if isinstance(value, list) else value for key, value in fields.items()}
        b.note(kind, "noted", **{**AT, **own})
        return b.carry(*stages, value=twin)

    return within(change)


def cause(verdict: Verdict) -> str:
    return verdict.causes[0].cause


def test_nothing_is_blamed_without_a_draw_that_was_seen() -> None:
    verdict = within(lambda b, twin: b.carry("batch", *MODEL, value=twin))
    assert cause(verdict) == "unknown" and verdict.causes[0].change == []


def test_a_generator_that_seeds_itself_was_seen() -> None:
    assert cause(noted("self-seeded", call="torch.Generator.seed")) == "unseeded-rng"


@pytest.mark.parametrize("source", ["clock", "process", "address"])
def test_a_value_from_outside_that_is_used(source: str) -> None:
    verdict = noted(
        "outside",
        source=source,
        call="f",
        use="value",
        used_at=9,
        used_in="{cwd}/train.py",
        used_code="rows = rows[part]",
    )
    found = verdict.causes[0]
    assert (found.cause, found.fix_at) == ("identity-seed", "{cwd}/train.py:9")
    assert "`rows = rows[part]`" in found.fix and found.change == []


def test_a_stopwatch_is_only_possible() -> None:
    found = noted("outside", source="clock", call="time.time").causes[0]
    assert found.cause == "unknown" and [clue.where for clue in found.clues] == ["{cwd}/train.py:7"]


def test_a_clock_that_ends_a_loop_does_not_explain_a_computed_value() -> None:
    assert (
        cause(noted("outside", ("forward", "loss"), source="clock", call="time.time", use="control", used_at=9))
        != "identity-seed"
    )


def test_an_address_does_not_win_against_memory_without_content() -> None:
    def change(b: RunBuilder, twin: int) -> RunBuilder:
        b.note("outside", "read", source="address", call="id", use="value", used_in="{cwd}/train.py", used_at=3, **AT)
        b.note("uninitialised", "made", call="numpy.empty", names=["row"], filled="partly", **{**AT, "line": 20})
        return b.carry("sample", "batch", *MODEL, value=twin)

    found = within(change).causes[0]
    assert found.cause == "unknown" and [clue.line for clue in found.clues] == [20, 7]


def two_folders(**fields: Any) -> Verdict:
    runs = []
    for number, folder in enumerate(("/home/a", "/home/b")):
        builder = RunBuilder("gpu1", audit=folder, run_id=folder).train()
        builder.note("outside", "noted", **{**AT, "source": "folder", "call": "os.getcwd", "value": folder, **fields})
        runs.append(builder.carry("batch", *MODEL, value=number).build())
    return judged(*runs)


def test_two_folders_are_named_with_their_paths() -> None:
    found = two_folders(use="value", used_in="{cwd}/train.py", used_at=9).causes[0]
    assert found.cause == "identity-seed" and any("/home/a vs /home/b" in line for line in found.evidence)


def test_a_path_that_only_finds_files_is_possible() -> None:
    found = two_folders().causes[0]
    assert found.cause == "unknown" and any("/home/a vs /home/b" in line for line in found.evidence)


def test_output_of_a_command_that_draws() -> None:
    verdict = noted("command", programs=("shuf",), drawing=True, bytes=4, digest=["a", "b", "c"], unordered="u")
    assert cause(verdict) == "unseeded-rng" and any(
        "same lines in another order" in line for line in verdict.causes[0].evidence
    )


def test_output_that_is_equal_explains_nothing() -> None:
    assert cause(noted("command", programs=("shuf",), drawing=True, bytes=4, digest="a", unordered="u")) == "unknown"


@pytest.mark.parametrize(
    ("program", "word"), [("date", "unknown"), ("find", "filesystem-order"), ("nvidia-smi", "unknown")]
)
def test_other_outputs(program: str, word: str) -> None:
    assert (
        cause(noted("command", programs=(program,), drawing=False, bytes=4, digest=["a", "b", "c"], unordered="u"))
        == word
    )


def test_the_first_of_the_names_by_time() -> None:
    fields = {"programs": ("ls", "head"), "drawing": False, "bytes": 9, "lines": 3, "digest": ["a", "b", "c"]}
    found = noted("command", unordered=["a", "b", "c"], by_time=True, **fields).causes[0]
    assert found.cause == "filesystem-order" and "by name instead of by time" in found.fix
    assert cause(noted("command", unordered=["a", "b", "c"], **fields)) == "unknown"


def test_a_date_that_is_used() -> None:
    def change(b: RunBuilder, twin: int) -> RunBuilder:
        b.note("command", "read", programs=("date",), drawing=False, bytes=4, digest=str(twin), **AT)
        b.note("outside", "read", source="output", use="value", used_in="{cwd}/train.py", used_at=8, **AT)
        return b.carry("batch", *MODEL, value=twin)

    assert cause(within(change)) == "identity-seed"


def test_a_database_that_draws() -> None:
    assert cause(noted("query", table="t", draws=True, ordered=True)) == "unseeded-rng"


@pytest.mark.parametrize(("threads", "word"), [(4, "concurrency"), (1, "unknown")])
def test_rows_that_threads_inserted(threads: int, word: str) -> None:
    fields = {"table": "t", "draws": False, "ordered": False, "rows": 9, "threads": threads}
    assert cause(noted("query", inserted=["a", "b", "c"], inserted_unordered="u", **fields)) == word


def test_times_that_order_the_same_files() -> None:
    fields = {"count": 9, "names": "n", "by_time": ["a", "b", "c"], "code": "files = sorted(found, key=getmtime)"}
    assert cause(noted("file-times", **fields)) == "filesystem-order"
    assert cause(noted("file-times", **{**fields, "code": "print(getmtime(name))"})) == "unknown"
    assert cause(noted("file-times", count=9, names="n", by_time="a")) == "unknown"


@pytest.mark.parametrize(
    ("filled", "word"), [("", "uninitialised-memory"), ("partly", "uninitialised-memory"), ("filled", "unknown")]
)
def test_memory_without_content(filled: str, word: str) -> None:
    def change(b: RunBuilder, twin: int) -> RunBuilder:
        b.note("uninitialised", "made", call="torch.empty", names=["token"], filled=filled, **AT)
        b.add("init", 0, "root1/token", twin)
        return b.carry(*MODEL, value=twin)

    found = within(change).causes[0]
    assert found.cause == word
    if word != "unknown":
        assert found.fix_at == "{cwd}/train.py:7" and "torch.zeros" in found.fix


def test_a_command_under_another_locale_names_its_line() -> None:
    def sorts(b: RunBuilder, output: str) -> RunBuilder:
        return b.note("command", "read", programs=("sort",), drawing=False, bytes=4, digest=output, unordered="u", **AT)

    verdict = across(
        lambda b: sorts(b.fact("variables/LC_ALL", "de_DE.UTF-8"), "b").carry("batch", *MODEL, value=1),
        lambda b: b if b.spec.arm.machine != "gpu1" else sorts(b.fact("variables/LC_ALL", "C"), "a"),
    )
    assert cause(verdict) == "config-drift" and any("train.py:7" in line for line in verdict.causes[0].evidence)


def recorded(*folders: str, names: str = "abcdefgh", **fields: Any) -> Verdict:
    """Two recordings that read the same files; the second reads them in the opposite order."""
    runs = []
    for number, folder in enumerate(folders):
        builder = RunBuilder("gpu1", audit=str(number), run_id=f"r{number}").train()
        builder.fact("storage/cwd", {"path": folder, "file_system": "ext4"}).note(
            "command", "starts", **{**AT, **fields}
        )
        for at, name in enumerate(names[::-1] if number else names):
            builder.add(
                "files", at // 4, "main", name, occurrence=at % 4, evidence={"file": f"{{cwd}}/{name}", "bytes": 3}
            )
        opened = {f"{{cwd}}/{name}": {"bytes": 3} for name in names}
        builder.fact("opened", {"files": opened})
        runs.append(builder.carry("sample", "batch", *MODEL, value=number).build())
    return judged(*runs)


def test_a_listing_whose_output_nobody_saw() -> None:
    verdict = recorded("/disk/a", "/shm/b", programs=("find",), drawing=False, unsorted=True)
    assert (cause(verdict), verdict.causes[0].fix_at) == ("filesystem-order", "{cwd}/train.py:7")
    assert not any("selected other files" in line for line in verdict.causes[0].evidence)


def test_recordings_of_two_folders_prove_no_origin_without_a_cause() -> None:
    verdict = recorded("/disk/a", "/shm/b", programs=("git",), drawing=False)
    assert (cause(verdict), verdict.origin, verdict.causes[0].origin) == ("unknown", None, None)
    verdict = recorded("/disk/a", "/disk/a", programs=("find",), drawing=False, unsorted=True)
    assert (cause(verdict), verdict.origin) == ("unknown", "code")


def test_entropy_that_chooses_was_drawn() -> None:
    fields = {"call": "uuid.uuid4", "used_in": "{cwd}/train.py", "used_at": 9, "used_code": "fold = run.id.int % 5"}
    found = noted("outside", source="entropy", use="value", **fields).causes[0]
    assert (found.cause, found.fix_at) == (
        "unseeded-rng",
        "{cwd}/train.py:9",
    ) and "`fold = run.id.int % 5`" in found.fix
    assert cause(noted("outside", source="entropy", call="uuid.uuid4")) == "unknown"


@pytest.mark.parametrize(
    ("command", "options"),
    [
        (["python", "-O", "train.py", "-O"], "-O"), (["python", "-uBm", "train", "-O"], None), (["python", "-OO", "-m", "t"], "-O -O"),
        (["python", "-X", "utf8", "-Werror", "t.py"], "-X utf8 -W error"), (["python", "-c", "x"], None),
    ],
)  # fmt: skip
def test_options_of_python_that_differ(command: list[str], options: str | None) -> None:
    found = interpreter_suspects(["python", "train.py"], command)
    assert [(one.right, one.left) for one in found] == ([(options, None)] if options else [])


@pytest.mark.parametrize(("filled", "shown"), [("", 1), ("filled", 0)])
def test_memory_without_content_that_agrees_is_noted(filled: str, shown: int) -> None:
    verdict = within(
        lambda b, twin: b.note("uninitialised", "made", call="torch.empty", names=["t"], filled=filled, **AT)
    )
    assert verdict.outcome == "identical"
    assert len([note for note in verdict.notes if "torch.empty" in note and "by chance" in note]) == shown
