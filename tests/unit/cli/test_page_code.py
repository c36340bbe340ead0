"""Excerpts of the user's code on a page: which files are read, what is said about changes, and the fix as a diff."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

import pytest
from detctl_cli.reporters.page.code import AROUND, Excerpt, excerpts_of

SOURCE = "".join(f"line_{n} = {n}\n" for n in range(1, 9)) + "names = os.listdir(folder)\n" + "end = 1\n" * 9


def digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=16).hexdigest()


def verdict_at(place: str, runs: list[str] | None = None) -> dict[str, object]:
    cause = {"cause": "filesystem-order", "fix_at": place, "clues": [{"kind": "listing", "call": "os.listdir"}]}
    return {"causes": [cause], "sources": {"{cwd}/train.py": runs} if runs else {}}


def only(verdict: dict[str, object], folder: Path) -> Excerpt:
    (found,) = excerpts_of(verdict, folder)
    return found[1]


def test_the_fix_is_a_diff_against_the_code_and_at_most_five_lines_around_it_are_shown(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SOURCE)
    found = only(verdict_at("{cwd}/train.py:9", runs=[digest(SOURCE)]), tmp_path)
    assert (found.match, found.note, found.applied, found.file) == ("same", "", True, "train.py")
    assert [(row.sign, row.text) for row in found.rows if row.sign != " "] == [
        ("-", "names = os.listdir(folder)"), ("+", "names = sorted(os.listdir(folder))"),
    ]  # fmt: skip
    numbers = [row.number for row in found.rows if row.number is not None]
    assert numbers == list(range(9 - AROUND, 9 + AROUND + 1))


def test_a_file_that_changed_is_shown_with_a_note_and_without_a_diff(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SOURCE)
    changed = only(verdict_at("{cwd}/train.py:9", runs=[digest("older")]), tmp_path)
    assert changed.match == "changed" and "has changed" in changed.note and not changed.applied and changed.rows
    unknown = only(verdict_at("{cwd}/train.py:9"), tmp_path)
    assert unknown.match == "unknown" and "may have changed" in unknown.note and unknown.applied
    several = only(verdict_at("{cwd}/train.py:9", runs=[digest(SOURCE), digest("other")]), tmp_path)
    assert several.match == "differs" and "different versions" in several.note
    (tmp_path / "train.py").unlink()
    gone = only(verdict_at("{cwd}/train.py:9"), tmp_path)
    assert not gone.rows and "not in the current folder" in gone.note


@pytest.mark.parametrize(
    "name", ["../secret.py", "{cwd}/../secret.py", "{home}/secret.py", "link.py", "notes.txt", "", "sub"]
)
def test_a_verdict_cannot_name_files_elsewhere(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "secret.py").write_text("secret = 1\n")
    (folder / "notes.txt").write_text("secret = 1\n")
    (folder / "link.py").symlink_to(tmp_path / "secret.py")
    for place in (f"{name}:1", f"{tmp_path}/secret.py:1"):
        assert not any(excerpt.rows for _, excerpt in excerpts_of(verdict_at(place), folder))


def test_credentials_in_code_are_not_shown(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text('a = 1\nopen("https://user:hunter2@example.org/x")\nb = os.listdir(c)\n')
    found = only(verdict_at("train.py:3"), tmp_path)
    assert "hunter2" not in repr(found) and "https://" in repr(found)


@pytest.mark.parametrize(
    ("cause", "line", "after"),
    [
        ("filesystem-order", "for p in Path(d).iterdir():", "for p in sorted(Path(d).iterdir()):"),
        ("filesystem-order", "for r, ds, fs in os.walk(d):", "    ds.sort()\n    fs.sort()"),
        ("filesystem-order", 'ä = glob.glob("ü*")', 'ä = sorted(glob.glob("ü*"))'),
        ("filesystem-order", "x = other(d)", None),
        ("hash-order", "x = list(set(names))", "x = sorted(set(names))"),
        ("hash-order", "for name in names:", None),
        ("hash-order", "x = hash(name) % 2", "import zlib\nx = zlib.crc32(str(name).encode()) % 2"),
        ("hardware", "x = 1", None),
        ("filesystem-order", "this is not Python", None),
    ],
)  # fmt: skip
def test_a_fix_is_shown_below_the_line_that_it_changes(
    tmp_path: Path, cause: str, line: str, after: str | None
) -> None:
    body = "    pass\n" if line.endswith(":") else ""
    (tmp_path / "train.py").write_text(f"import glob, os\n{line}\n{body}")
    verdict = {"causes": [{"cause": cause, "fix_at": "{cwd}/train.py:2"}]}
    found = only(verdict, tmp_path)
    shown = [row for row in found.rows if row.sign != "+"]
    assert [row.text for row in shown] == f"import glob, os\n{line}\n{body}".split("\n")
    assert "\n".join(row.text for row in found.rows if row.sign == "+") == (after or "")
    assert found.applied is (after is not None) and [row.named for row in shown].index(True) == 1


def test_a_fix_of_several_lines_is_shown_whole(tmp_path: Path) -> None:
    lines = ["x = (", *(f"    f({n})," for n in range(8)), "    glob.glob(d),", ")"]
    (tmp_path / "train.py").write_text("import glob\n" + "\n".join(lines) + "\n")
    found = only(verdict_at("{cwd}/train.py:2"), tmp_path)
    assert [row.text for row in found.rows if row.sign != "+"][1:] == lines[: lines.index("    glob.glob(d),") + 1]
    assert [(row.sign, row.text) for row in found.rows[-2:]] == [
        ("-", "    glob.glob(d),"), ("+", "    sorted(glob.glob(d)),"),
    ]  # fmt: skip


def test_a_form_feed_ends_no_line(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("import os\n\f\ny = 2\nx = os.listdir(d)\n")
    found = only(verdict_at("{cwd}/train.py:4"), tmp_path)
    assert [(row.sign, row.text) for row in found.rows if row.sign != " "] == [
        ("-", "x = os.listdir(d)"), ("+", "x = sorted(os.listdir(d))"),
    ]  # fmt: skip
