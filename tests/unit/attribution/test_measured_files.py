"""data-content by digests: files that two runs read, compared by content."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from detctl_coordinator.attribution.evidence.observed.read_files import compare_files, holds_settings, read_files

from tests.support.judged_runs import MODEL, Make, across, first, judged, within
from tests.support.memory_runs import RunBuilder


def opened(**digests: str) -> dict[str, Any]:
    files = {
        f"{{data}}/{name}": {"bytes": 10, **({"digest": digest} if digest else {})} for name, digest in digests.items()
    }
    return {"files": files, "paths": {"data": "/srv/data"}, "unmeasured": {}}


def with_files(section: dict[str, Any], *stages: str) -> Make:
    return lambda b: b.fact("opened", section).carry(*stages) if stages else b.fact("opened", section)


def between(left: dict[str, Any], right: dict[str, Any], *stages: str, recorded: bool = False):  # type: ignore[no-untyped-def]
    runs = [with_files(left)(RunBuilder("gpu1", twin).train()).build() for twin in range(1 if recorded else 2)]
    machine = "gpu1" if recorded else "gpu2"
    numbers = (1,) if recorded else (0, 1)
    runs += [with_files(right, *stages)(RunBuilder(machine, number).train()).build() for number in numbers]
    return judged(*runs)


def test_one_changed_file_is_named_although_its_samples_differ_by_little() -> None:
    verdict = between(opened(a="11", b="22"), opened(a="11", b="23"), "sample", "batch", *MODEL)
    assert first(verdict) == ("data-content", "environment", "sample", 0)
    assert [clue.file for clue in verdict.causes[0].clues] == ["{data}/b"]
    (file,) = verdict.files
    assert (file.name, file.kind, file.digests, file.bytes) == ("{data}/b", "content", ["22", "23"], [10, 10])
    assert file.paths == ["/srv/data/b", "/srv/data/b"]


def test_two_recordings_of_one_machine_can_read_other_files() -> None:
    verdict = between(opened(b="22"), opened(b="23"), "sample", "batch", *MODEL, recorded=True)
    assert [cause.cause for cause in verdict.causes] == ["data-content"]


def test_weights_of_another_content() -> None:
    verdict = between(opened(w="22"), opened(w="23"), "init", *MODEL)
    assert first(verdict)[:3] == ("data-content", "environment", "init")


def test_equal_files_exclude_data_content() -> None:
    verdict = between(opened(a="11", b="22"), opened(a="11", b="22"), "sample", "batch", *MODEL)
    assert "data-content" not in [cause.cause for cause in verdict.causes]
    assert verdict.files == []


def test_a_file_without_a_digest_leaves_it_open() -> None:
    left, right = read_files({"opened": opened(a="11", b="")}), read_files({"opened": opened(a="11", b="22")})
    found = compare_files(left, right)
    assert (found.changed, found.equal, found.unmeasured, found.all_equal) == ((), 1, 1, False)


def test_content_under_another_name() -> None:
    left, right = read_files({"opened": opened(a="11", b="22")}), read_files({"opened": opened(a="22", b="11")})
    found = compare_files(left, right)
    assert found.renamed == (("{data}/a", "{data}/b"), ("{data}/b", "{data}/a"))
    alone = compare_files(read_files({"opened": opened(a="11")}), read_files({"opened": opened(c="11")}))
    assert alone.renamed == (("{data}/a", "{data}/c"),) and [f.name for f in alone.only_right] == ["{data}/c"]


def named(by: dict[str, Any], **digests: str) -> dict[str, Any]:
    section = opened(**digests)
    for row in section["files"].values():
        row["named"] = by
    return section


AT = {"file": "{cwd}/net.py", "line": 4}


@pytest.mark.parametrize(
    ("by", "shown", "stages"),
    [(AT, "net.py:4", ("init", *MODEL)), ({}, "the command", ("init", *MODEL)), (AT, "net.py:4", ("batch", *MODEL))],
)
def test_a_file_that_the_program_names_is_the_last_to_be_blamed(by: Any, shown: str, stages: tuple[str, ...]) -> None:
    left, right = named(by, w="22", same="1"), named(by, w="23", same="1")
    for recorded in (True, False):
        verdict = between(left, right, *stages, recorded=recorded)
        assert [cause.cause for cause in verdict.causes] == ["data-content"]
        assert verdict.causes[0].evidence[0].startswith("The content of {data}/w differs (both 10 bytes).")
        assert shown in verdict.causes[0].evidence[0]
    found = between(left, right, "rng", "init", *MODEL, recorded=True)
    assert "data-content" not in [cause.cause for cause in found.causes]  # a random state explains the weights


def test_named_files_count_neither_as_read_nor_as_missing() -> None:
    left, right = (read_files({"opened": one}) for one in (named(AT, a="1", b="2"), named(AT, b="1", c="2")))
    found = compare_files(left, right)
    assert (found.changed, found.renamed, found.only_left, found.only_right) == ((), (), (), ())
    assert (found.equal, found.unmeasured, [a.name for a, _ in found.named]) == (0, 0, ["{data}/b"])


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("model_config.json", True), ("{cwd}/hparams.json", True), ("conf/train.yaml", True), (".env", True),
        ("{cwd}/coco/annotations.json", False), ("reconfigured.json", False), ("config/words.json", False), ("config.npy", False),
    ],
)  # fmt: skip
def test_files_that_hold_options_are_no_data(name: str, settings: bool) -> None:
    assert holds_settings(name) is settings


def test_recordings_without_the_section() -> None:
    assert not compare_files(read_files({}), read_files({"opened": opened(a="11")})).known
    assert not compare_files(read_files({"opened": 3}), read_files({"opened": {"files": 1}})).known


def place(**changes: Any) -> dict[str, Any]:
    fix = {
        "old": ["    ids = list(tags)"],
        "new": ["    ids = sorted(tags)"],
        "expression": "sorted(tags)",
        "imports": [],
    }
    row = {
        "file": "{cwd}/train.py", "line": 27, "end_line": 27, "text": ["ids = list(tags)"], "kind": "iterated", "items": "hashed",
        "expression": "tags", "made_file": "{cwd}/train.py", "made_line": 26, "reaches": ["data"], "fix": fix,
    }  # fmt: skip
    return {**row, **changes}


def hashed(*places: dict[str, Any], **more: Any) -> Make:
    section = {"lines": [], "orders": list(places), "calls": [], "loaders": [], **more}
    return lambda b: b.fact("source", section).fact("variables", {})


def test_a_set_that_reaches_the_data_is_named_with_its_line_and_changed() -> None:
    verdict = within(lambda b, twin: hashed(place())(b).carry("sample", "batch", *MODEL, value=twin))
    (cause,) = verdict.causes
    assert (cause.cause, cause.fix_at) == ("hash-order", "{cwd}/train.py:26-27")
    assert cause.change == ["- ids = list(tags)", "+ ids = sorted(tags)"]
    assert [(clue.kind, clue.where) for clue in cause.clues] == [("hash-order", "{cwd}/train.py:27")]


def test_a_setting_that_the_program_reads_explains_other_values_before_a_set() -> None:
    def change(b: RunBuilder, clip: str) -> RunBuilder:
        b.note("variable", "the variable CLIP is read", name="CLIP", file="{cwd}/train.py", line=3)
        return hashed(place())(b).fact("variables", {"CLIP": clip})

    runs = [change(RunBuilder("here", audit=clip, run_id=clip).train(), clip) for clip in "12"]
    verdict = judged(runs[0].build(), runs[1].carry("batch", *MODEL, value="other").build())
    assert [cause.cause for cause in verdict.causes] == ["config-drift"]


def test_several_places_are_all_listed_and_none_is_chosen() -> None:
    both = hashed(place(), place(line=40, made_line=3))
    (cause,) = within(lambda b, twin: both(b).carry("sample", "batch", *MODEL, value=twin)).causes
    assert cause.fix_at == "" and [clue.line for clue in cause.clues] == [27, 40]


def test_places_that_feed_the_data_come_before_others() -> None:
    both = hashed(place(line=5, reaches=["model"]), place(), place(line=60, reaches=[]))
    (cause,) = within(lambda b, twin: both(b).carry("sample", "batch", *MODEL, value=twin)).causes
    assert [clue.line for clue in cause.clues] == [27]


def test_a_program_without_sets_has_no_hash_order() -> None:
    for places in ((), (place(items="objects"),), (place(reaches=[]),)):
        verdict = within(lambda b, twin, p=places: hashed(*p)(b).carry("sample", "batch", *MODEL, value=twin))  # type: ignore[misc]
        assert "hash-order" not in [cause.cause for cause in verdict.causes]


def test_a_seed_of_hash_is_hash_order_and_a_seed_of_the_clock_is_not() -> None:
    number = place(kind="hash", expression="hash(name)", made_line=0, line=7, reaches=["data", "model"])

    def seeded(*more: str) -> str:
        def change(b: RunBuilder, twin: int) -> RunBuilder:
            for kind in more:
                b.note("identity", "the seed looks like it", looks_like=kind, file="{cwd}/train.py", line=9)
            b.note("seed", "seeds", generator="torch.manual_seed", value=100 + twin, file="{cwd}/train.py", line=9)
            return hashed(number)(b).carry("rng", "init", "batch", *MODEL, value=twin)

        (cause,) = within(change).causes
        return cause.cause

    assert seeded() == "hash-order"
    assert seeded("the clock") == "identity-seed"


def test_a_listing_is_fixed_in_the_users_own_line() -> None:
    def listed(b: RunBuilder) -> RunBuilder:
        fix = {
            "old": ["x = glob.glob(p)"],
            "new": ["x = sorted(glob.glob(p))"],
            "expression": "sorted(glob.glob(p))",
            "imports": [],
        }
        line = {
            "file": "{cwd}/train.py",
            "line": 30,
            "end_line": 30,
            "text": ["x = glob.glob(p)"],
            "fixes": {"filesystem-order": fix},
        }
        return b.fact("source", {"lines": [line], "orders": [], "calls": [], "loaders": []})

    verdict = across(lambda b: moved_listing()(b).carry("sample", "batch", *MODEL), both=listed)
    (cause,) = verdict.causes
    assert cause.cause == "filesystem-order"
    assert cause.change == ["- x = glob.glob(p)", "+ x = sorted(glob.glob(p))"] and cause.fix_at == "{cwd}/train.py:30"


def test_nothing_that_the_program_does_is_advised() -> None:
    done = hashed(calls=["random.seed", "numpy.random.seed", "torch.manual_seed", "torch.use_deterministic_algorithms"])
    for stage in ("init", "sample", "forward"):
        verdict = within(lambda b, twin, s=stage: done(b).carry(s, *MODEL, value=twin))  # type: ignore[misc]
        for cause in verdict.causes:
            assert not any("manual_seed(seed)" in line or "use_deterministic" in line for line in cause.change), cause
            assert "start of the script" not in cause.fix


def moved_listing(line: int = 30) -> Make:
    def change(b: RunBuilder) -> RunBuilder:
        row = b.rows[0]
        rows = tuple(reversed(row.rows or ()))
        evidence = {"call": "os.listdir", "file": "{cwd}/train.py", "line": line}
        b.rows[0] = replace(row, digest=b"x" * 16, rows=rows, evidence=evidence)
        return b

    return change


def test_a_listing_that_is_sorted_explains_nothing() -> None:
    line = {
        "file": "{cwd}/train.py",
        "line": 30,
        "text": ["x = sorted(os.listdir(d))"],
        "fixes": {},
        "loses_order": True,
    }
    section = {"lines": [line], "orders": [], "calls": [], "loaders": []}
    verdict = across(
        lambda b: moved_listing()(b).carry("sample", "batch", *MODEL), both=lambda b: b.fact("source", section)
    )
    assert "filesystem-order" not in [cause.cause for cause in verdict.causes]
    other = across(
        lambda b: moved_listing(31)(b).carry("sample", "batch", *MODEL), both=lambda b: b.fact("source", section)
    )
    assert [cause.cause for cause in other.causes] == ["filesystem-order"]


def test_only_lines_that_do_not_sort_are_named() -> None:
    place = {"file": "{cwd}/train.py", "text": ["x"], "fixes": {}}
    section = {"lines": [{**place, "line": 30, "loses_order": True}, {**place, "line": 31}]}

    def second(b: RunBuilder) -> RunBuilder:
        b.add("listing", 0, "second", rows=("a", "b", "c"), dtype="py:names").rows.insert(1, b.rows.pop())
        return b.fact("source", {**section, "orders": [], "calls": [], "loaders": []})

    def moved(b: RunBuilder) -> RunBuilder:
        for at, line in enumerate((30, 31)):
            evidence = {"call": "os.listdir", "file": "{cwd}/train.py", "line": line}
            rows = tuple(reversed(b.rows[at].rows or ()))
            b.rows[at] = replace(b.rows[at], digest=b"x" * 16, rows=rows, evidence=evidence)
        return b.carry("sample", "batch", *MODEL)

    (cause,) = across(moved, second).causes
    assert cause.cause == "filesystem-order" and {clue.line for clue in cause.clues} == {31}


def test_a_data_file_in_the_folder_of_the_source_is_no_code() -> None:
    def own(digest: str, *stages: str) -> Make:
        section = {"files": {"{cwd}/x.bin": {"bytes": 4, "digest": digest}}, "paths": {}, "unmeasured": {}}
        return lambda b: (
            b.add("code", 0, "command", "a", evidence={"command": ["python", "train.py"]}, dtype="py:command")
            .fact("opened", section)
            .fact("recipe/source_digest", digest)
            .carry(*stages)
        )

    runs = [own("11")(RunBuilder("gpu1", twin).train()).build() for twin in (0, 1)]
    runs += [own("22", "batch", *MODEL)(RunBuilder("gpu2", twin).train()).build() for twin in (0, 1)]
    assert [cause.cause for cause in judged(*runs).causes] == ["data-content"]


def test_equal_files_are_evidence_that_something_else_differs() -> None:
    verdict = between(opened(a="11", b="22"), opened(a="11", b="22"), "sample", "batch", *MODEL)
    (cause,) = verdict.causes
    assert cause.cause == "unknown" and any("All 2 files" in line for line in cause.evidence)
