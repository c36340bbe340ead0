"""Excerpts of the user's code on a page: which files are read, what is said about changes, and the fix as a diff."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

import pytest
from detctl_cli.reporters.page.changed_code import changed_code
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
        ("filesystem-order", "x = list(os.scandir(d))", "x = list(sorted(os.scandir(d), key=lambda entry: entry.name))"),
        ("filesystem-order", 'ä = glob.glob("ü*")', 'ä = sorted(glob.glob("ü*"))'),
        ("filesystem-order", "x = other(d)", None),
        ("hash-order", "for name in names:", "for name in sorted(names):"),
        ("hash-order", "x = list(names)", "x = sorted(names)"),
        ("hash-order", "for name in sorted(names):", None),
        ("unseeded-rng", "g = np.random.default_rng()", "g = np.random.default_rng(seed)"),
        ("unseeded-rng", "g = np.random.default_rng(3)", None),
        ("identity-seed", "torch.manual_seed(int(time.time()))", "torch.manual_seed(seed)"),
        ("concurrency", "for r in pool.imap_unordered(f, xs):", "for r in pool.imap(f, xs):"),
        ("concurrency", "for r in as_completed(futures):", "for r in futures:"),
        ("hardware", "x = 1", None),
        ("filesystem-order", "this is not Python", None),
    ],
)  # fmt: skip
def test_a_fix_changes_the_named_line(cause: str, line: str, after: str | None) -> None:
    body = "    pass\n" if line.endswith(":") else ""
    found = changed_code(f"import os\n{line}\n{body}", 2, {"cause": cause})
    assert found == (None if after is None else f"import os\n{after}\n{body}")
