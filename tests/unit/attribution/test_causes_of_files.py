"""Causes that lie in files: data, code, settings, and what runs leave in their folder; and in the arguments of a command."""

from __future__ import annotations

from dataclasses import replace

import pytest
from detctl_coordinator.comparison.alignment import name_hash

from tests.support.judged_runs import EVERYTHING, MODEL, Make, across, first, judged
from tests.support.memory_runs import MemoryRun, RunBuilder, digest_of


def test_weights_that_come_from_a_file_of_an_earlier_run_are_its_consequence() -> None:
    def resumed(b: RunBuilder) -> RunBuilder:
        b.add("files", 0, "main", "state", evidence={"file": "{cwd}/state.pt", "bytes": 99}, dtype="py:path")
        return b.carry("init", *MODEL)

    verdict = across(resumed)
    assert [(cause.cause, cause.stage) for cause in verdict.causes] == [("cache-state", "init")]
    assert "Only the second run opens {cwd}/state.pt (99 bytes)." in verdict.causes[0].evidence


def test_data_content_missing_file() -> None:
    def missing(b: RunBuilder) -> RunBuilder:
        row = b.rows[0]
        assert row.rows is not None
        b.rows[0] = replace(row, digest=digest_of("two"), rows=row.rows[:2], shape=(2,), order_blind=digest_of("two"))
        return b.carry("order", "sample", "batch", *MODEL)

    verdict = across(missing)
    assert first(verdict) == ("data-content", "environment", "listing", 0)


def test_fewer_files_give_another_order_and_the_missing_one_is_named() -> None:
    names = [f"{number}.png" for number in range(40)]

    def lists(found: list[str]) -> Make:
        def change(b: RunBuilder) -> RunBuilder:
            rows = tuple(name_hash(name) for name in found)
            evidence = {"first": found[:20]}
            whole = digest_of(found)
            b.add("listing", 0, "photos", whole, dtype="py:names", shape=(len(rows),), evidence=evidence)
            b.rows[-1] = replace(b.rows[-1], rows=rows, order_blind=whole)
            files = {f"{{cwd}}/photos/{name}": {"bytes": 5} for name in found}
            return coded()(b).fact("opened", {"files": files}).fact("recipe/source_digest", str(len(found)))

        return change

    left = lists(names)(RunBuilder("here", audit="one").train()).build()
    right = lists(names[:33] + names[34:])(RunBuilder("here", audit="two").train())
    verdict = judged(left, right.carry("order", "sample", "batch", *MODEL).build())
    assert [(cause.cause, cause.stage) for cause in verdict.causes] == [("data-content", "listing")]
    assert "Only the first run lists 33.png in photos." in verdict.causes[0].evidence


def test_a_listing_in_another_order_or_of_one_run_alone_explains_no_order() -> None:
    def moved(b: RunBuilder) -> RunBuilder:
        row = b.rows[0]
        assert row.rows is not None
        b.rows[0] = replace(row, digest=digest_of("moved"), rows=row.rows[::-1])
        return b.carry("order", "sample", "batch", *MODEL)

    def alone(b: RunBuilder) -> RunBuilder:
        return b.add("listing", 0, "logs", rows=("a",), dtype="py:names").carry("order", "sample", "batch", *MODEL)

    for change in (moved, alone):
        assert {cause.stage for cause in across(change).causes} == {"listing", "order"}


def test_data_content_of_a_file_under_one_name() -> None:
    def opened(b: RunBuilder) -> RunBuilder:
        size = 10 if b.spec.arm.machine == "gpu1" else 12
        return b.add("files", 0, "main", "a", dtype="py:path", evidence={"file": "{data}/a.png", "bytes": size})

    verdict = across(lambda b: b.carry("sample", "batch", *MODEL), both=opened)
    assert first(verdict) == ("data-content", "environment", "sample", 0)
    assert "The size of {data}/a.png differs: 10 vs 12 bytes." in verdict.causes[0].evidence


@pytest.mark.parametrize(
    ("file", "option", "cause"),
    [
        ("{cwd}/index.npy", "0.1", "cache-state"),
        ("{data}/extra.txt", "0.1", "data-content"),
        ("{cwd}/index.npy", "0.2", "config-drift"),
    ],
)
def test_a_file_that_one_run_alone_opens_is_named(file: str, option: str, cause: str) -> None:
    def opens(b: RunBuilder) -> RunBuilder:
        b.add("files", 0, "main", "more", evidence={"file": file, "bytes": 256}, dtype="py:path")
        return b.fact("recipe/parameters/lr", option).carry("sample", "batch", *MODEL)

    verdict = across(opens, both=lambda b: b.fact("recipe/parameters/lr", "0.1"))
    assert first(verdict)[:3] == (cause, "environment", "files")
    line = f"Only the second run opens {file} (256 bytes)."
    assert (line in verdict.causes[0].evidence) == (cause != "config-drift"), verdict.causes[0].evidence


def test_code_version() -> None:
    verdict = across(lambda b: b.fact("recipe/source_digest", "s2").carry(*MODEL))
    assert first(verdict)[:2] == ("code-version", "environment")


@pytest.mark.parametrize(
    ("other", "audits", "word"),
    [("libs/b/loss=2", "xy", "code-version"), ("libs/b/loss=1", "xy", "unknown"), ("libs/b/loss=2", "xx", "unknown"),
     ("libs/b/extra=2", "xy", "unknown")],
    ids=["other content", "the same content", "twins of an audit", "another module"],
)  # fmt: skip
def test_a_module_that_is_imported_from_elsewhere(other: str, audits: str, word: str) -> None:
    modules = ("libs/a/loss=1", other)
    runs = [
        coded(modules=module)(RunBuilder("here", audit=audit, run_id=f"r{twin}").train()).carry(
            "loss", "update", value=twin
        )
        for twin, (module, audit) in enumerate(zip(modules, audits, strict=True))
    ]
    (cause,) = judged(*(run.build() for run in runs)).causes
    assert cause.cause == word
    if word != "unknown":
        assert "{cwd}/libs/a/loss.py" in cause.evidence[0] and "{cwd}/libs/b/loss.py" in cause.evidence[0]


def coded(*arguments: str, modules: str = "") -> Make:
    """A recording made in place: its command, and modules each with a letter as its source."""

    def with_code(b: RunBuilder) -> RunBuilder:
        b.add(
            "code",
            0,
            "command",
            arguments,
            evidence={"command": ["python", "train.py", *arguments]},
            dtype="py:command",
        )
        for module in modules.split():
            name, _, source = module.partition("=")
            b.add("code", 0, f"{{cwd}}/{name}.py", source, dtype="py:source")
        return b.fact("recipe/in_place", True)

    return with_code


def test_a_settings_file_that_both_read_is_named() -> None:
    def reads_settings(content: str) -> Make:
        evidence = {"file": "{cwd}/config.yaml", "bytes": len(content), "content": content}
        return lambda b: coded(modules="net=a")(b).add("files", 0, "main", "config", evidence=evidence)

    for in_place in (True, False):
        runs = []
        for machine, content in (("gpu1", "lr: 0.1"), ("gpu2", "lr: 0.05")):
            for twin in (0, 1):
                b = reads_settings(content)(RunBuilder(machine, twin).train()).fact("recipe/in_place", in_place)
                b.fact("recipe/source_digest", content).carry("sample", *MODEL, value=content)
                runs.append(b.build())
        cause = judged(*runs).causes[0]
        assert (cause.cause, cause.fix) == ("config-drift", "Use the same {cwd}/config.yaml in both runs.")
        assert "{cwd}/config.yaml differs, and both runs read it." in cause.evidence


def test_what_runs_leave_in_their_folder_is_no_code() -> None:
    def later(change: Make) -> Make:
        return lambda b: change(b).fact("recipe/source_digest", "s2").carry(*MODEL)

    same = later(coded("--lr", "0.1", modules="net=a"))
    option = later(coded("--lr", "0.2", modules="net=a"))
    edited = later(coded("--lr", "0.2", modules="net=b"))
    imported = later(coded("--lr", "0.2", modules="net=a extra=a"))
    found = []
    for change in (same, option, edited, imported):
        runs = [coded("--lr", "0.1", modules="net=a")(RunBuilder("gpu1", twin).train()).build() for twin in (0, 1)]
        runs += [change(RunBuilder("gpu2", twin).train()).build() for twin in (0, 1)]
        found.append(judged(*runs).causes[0])
    assert [cause.cause for cause in found] == ["unknown", "config-drift", "code-version", "config-drift"]
    assert any("Other files of the folder differ" in line for line in found[0].evidence)
    assert "The source of {cwd}/net.py differs." in found[2].evidence


def test_recordings_whose_folder_changed_in_between_are_not_twins_and_the_verdict_explains_it() -> None:
    def recorded(number: str, source: str) -> MemoryRun:
        builder = coded("--lr", "0.1")(RunBuilder("here", audit=number, run_id=number).train())
        return builder.fact("recipe/source_digest", source).carry("rng", *EVERYTHING, value=number).build()

    notes = judged(recorded("one", "s1"), recorded("two", "s2")).notes
    assert [note for note in notes if "are not twins, because files of their folder changed in between" in note], notes
    twins = judged(recorded("one", "s1"), recorded("two", "s1"))
    assert twins.origin == "code" and not [note for note in twins.notes if "are not twins" in note]


def test_worker_count_is_read_from_a_recorded_command() -> None:
    def command(*arguments: str) -> Make:
        evidence = {"command": ["python", "train.py", *arguments]}
        return lambda b: b.add("code", 0, "command", arguments, dtype="py:command", evidence=evidence)

    a = command("--data", "{arg1}")(RunBuilder("here", audit="one").train()).fact("recipe/command", ["x", "/a"])
    b = command("--data", "{arg1}", "--workers", "2")(RunBuilder("here", audit="two").train())
    b.fact("recipe/command", ["x", "/b"]).carry("sample", "batch", *MODEL)
    verdict = judged(a.build(), b.build())
    assert [c.cause for c in verdict.causes] == ["worker-count"]
    assert "parameter workers differs: (unset) vs 2" in verdict.causes[0].evidence
    assert verdict.first_divergence is not None and verdict.first_divergence.stage == "code"


@pytest.mark.parametrize(("head", "number"), [(["python", "train.py"], 1), (["python", "-m", "pkg.train"], 1)])
def test_arguments_without_a_flag_have_the_numbers_of_argv(head: list[str], number: int) -> None:
    runs = []
    for audit, word in (("one", "0.1"), ("two", "0.2")):
        b = RunBuilder("here", audit=audit).train().fact("recipe/command", [*head, word])
        runs.append(b.add("code", 0, "command", word, dtype="py:command", evidence={"command": [*head, word]}))
    verdict = judged(runs[0].build(), runs[1].carry(*MODEL).build())
    assert f"parameter argument {number} differs: 0.1 vs 0.2" in verdict.causes[0].evidence
