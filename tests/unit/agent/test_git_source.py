"""Commits of a git remote: only those that its branches and tags contain, each in a worktree of its own. Real git, file://."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from detctl_agent.catalog import catalog
from detctl_agent.catalog.admission import Admitted, Order, admit
from detctl_agent.errors import CatalogError, RunRefusedError, SourceError
from detctl_agent.runs import arguments
from detctl_agent.runs.recipe_source import take_source
from detctl_agent.source import git_source, source
from detctl_agent.state.run_folder import RunFolder
from detctl_proto.syntax.parameter_patterns import COMMIT_PATTERN


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *identity, "-C", str(folder), *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(folder: Path, text: str) -> str:
    """Writes train.py and returns the new commit."""
    (folder / "train.py").write_text(text)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", text)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    folder = tmp_path / "remote"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    return folder


def test_each_commit_has_its_own_tree(remote: Path, tmp_path: Path) -> None:
    one, two = commit(remote, "one"), commit(remote, "two")
    trees = [git_source.worktree(f"git+file://{remote}", name, tmp_path / "git") for name in (one, two)]
    assert [(tree / "train.py").read_text() for tree in trees] == ["one", "two"]
    assert [source.scan(tree).git_commit for tree in trees] == [one, two]


def test_a_commit_pushed_later_is_fetched_and_a_known_one_needs_no_remote(remote: Path, tmp_path: Path) -> None:
    text, place = f"git+file://{remote}", tmp_path / "git"
    one = commit(remote, "one")
    git_source.worktree(text, one, place)
    two = commit(remote, "two")
    assert (git_source.worktree(text, two, place) / "train.py").read_text() == "two"
    remote.rename(tmp_path / "away")
    assert (git_source.worktree(text, one, place) / "train.py").read_text() == "one"


def test_a_commit_that_no_branch_holds_is_refused_though_the_remote_would_hand_it_out(
    remote: Path, tmp_path: Path
) -> None:
    commit(remote, "one")
    git(remote, "checkout", "-q", "--detach")
    loose = commit(remote, "of a fork")
    git(remote, "update-ref", "refs/pull/1/head", loose)  # as hosting services keep what others propose
    git(remote, "checkout", "-q", "main")
    git(remote, "config", "uploadpack.allowAnySHA1InWant", "true")
    with pytest.raises(RunRefusedError, match="no branch and no tag"):
        git_source.worktree(f"git+file://{remote}", loose, tmp_path / "git")


def test_a_branch_that_moved_away_takes_its_commits_along_at_the_next_fetch(remote: Path, tmp_path: Path) -> None:
    text, place = f"git+file://{remote}", tmp_path / "git"
    commit(remote, "one")
    gone = commit(remote, "gone")
    git_source.worktree(text, gone, place)
    git(remote, "reset", "-q", "--hard", "HEAD~1")
    git_source.worktree(text, commit(remote, "other"), place)
    with pytest.raises(RunRefusedError, match="no branch and no tag"):
        git_source.worktree(text, gone, place)


@pytest.mark.parametrize("name", ["", "main", "HEAD", "--help", "a" * 39, "A" * 40, "a" * 41, "../" + "a" * 37])
def test_only_forty_hex_digits_are_a_commit(tmp_path: Path, name: str) -> None:
    with pytest.raises(RunRefusedError, match="40 hex digits"):
        git_source.worktree("git+file:///nowhere", name, tmp_path / "git")
    assert not (tmp_path / "git").exists()


def test_a_tree_that_was_written_into_is_made_again(remote: Path, tmp_path: Path) -> None:
    text, place, one = f"git+file://{remote}", tmp_path / "git", commit(remote, "one")
    tree = git_source.worktree(text, one, place)
    (tree / "train.py").write_text("changed")
    (tree / "left.txt").write_text("x")
    again = git_source.worktree(text, one, place)
    assert (again / "train.py").read_text() == "one"
    assert not (again / "left.txt").exists()


def test_hooks_and_filters_of_the_repository_run_nothing(remote: Path, tmp_path: Path) -> None:
    (remote / ".gitattributes").write_text("train.py filter=evil\n")
    (remote / ".gitmodules").write_text('[submodule "x"]\n\tpath = x\n\turl = ext::touch%20/tmp/detctl-evil\n')
    one = commit(remote, "one")
    tree = git_source.worktree(f"git+file://{remote}", one, tmp_path / "git")
    assert (tree / "train.py").read_text() == "one"


def test_old_trees_go_when_new_ones_need_their_place(remote: Path, tmp_path: Path) -> None:
    text, place = f"git+file://{remote}", tmp_path / "git"
    for number in range(git_source.WORKTREES_MAX + 3):
        last = git_source.worktree(text, commit(remote, str(number)), place)
    trees = [one for one in last.parent.iterdir() if one.name != "mirror.git"]
    assert len(trees) == git_source.WORKTREES_MAX
    assert last in trees


def test_a_remote_that_does_not_answer_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        git_source.worktree(f"git+file://{tmp_path}/nothing", "a" * 40, tmp_path / "git")
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('source = "https://example.org/x.git"', "source: 'https://example.org/x.git' is not a source"),
        ('source = "git+ext::sh"', "is not a source"),
        ('source = "git+https://me:secret@example.org/x"', "holds a password"),
        ('source = "git+https://example.org/x"\nfolder = "/srv"', "must be a folder of the repository"),
        ('source = "git+https://example.org/x"\nfolder = "../x"', "must be a folder of the repository"),
        ('source = "git+https://example.org/x"\nin_place = true', "runs in a copy"),
        ("", "folder: is missing"),
    ],
)
def test_a_source_that_cannot_be_is_told_with_its_key(tmp_path: Path, table: str, said: str) -> None:
    path = tmp_path / "catalog.toml"
    path.write_text(f'[recipes.x]\ncommand = ["python", "train.py"]\n{table}\n')
    with pytest.raises(CatalogError, match=r"recipes\.x") as caught:
        catalog.load(path)
    assert said in str(caught.value)


def test_no_owner_can_loosen_what_a_commit_may_be(tmp_path: Path) -> None:
    path = tmp_path / "catalog.toml"
    path.write_text(
        '[recipes.x]\ncommand = ["python", "t.py"]\nsource = "git+https://example.org/x"\n'
        '[recipes.x.parameters]\ncommit = "main"\n[recipes.x.patterns]\ncommit = ".*"\n'
    )
    recipe = catalog.load(path).recipes["x"]
    assert recipe.pattern("commit") == COMMIT_PATTERN
    assert str(recipe.folder) == "."


@pytest.fixture
def linked(remote: Path, tmp_path: Path) -> tuple[str, Path]:
    """(a commit with links, a folder outside with a secret). `out`, `deep/er` lead out, `in` stays in the repository."""
    secret = tmp_path / "agent-tls"
    secret.mkdir()
    (secret / "tls.key").write_text("PRIVATE KEY")
    (remote / "real/sub").mkdir(parents=True)
    (remote / "real/sub/train.py").write_text("real")
    (remote / "deep").mkdir()
    for link, target in {
        "out": secret, "deep/er": "../../../../..", "in": "real/sub", "venv": secret, "key.py": secret / "tls.key",
        "real/sub/up": "../../../..", "real/sub/key": secret / "tls.key",
    }.items():  # fmt: skip
        (remote / link).symlink_to(target)
    return commit(remote, "links"), secret


def admitted(remote: Path, folder: str, name: str, **parameters: str) -> Admitted:
    table = {
        "source": f"git+file://{remote}", "folder": folder, "command": ["python", "train.py", "{note}"], "parameters": {"note": ""},
    }  # fmt: skip
    order = Order("r1", 1, "x", parameters={"commit": name, **parameters})
    return admit(catalog.parse({"recipes": {"x": table}}, "catalog.toml"), order)


@pytest.mark.parametrize("folder", ["out", "deep/er", "venv", "real/sub/up", "key.py"])
def test_a_folder_that_leads_out_of_the_repository_is_refused(
    remote: Path, tmp_path: Path, linked: tuple[str, Path], folder: str
) -> None:
    """Sample 9 of issue 5: the folder was read and copied wherever a link of the commit led."""
    run = RunFolder(tmp_path / "run")
    with pytest.raises(RunRefusedError, match="leads out of the repository by a symbolic link") as caught:
        take_source(admitted(remote, folder, linked[0]), run, trees=tmp_path / "git")
    assert "\n" not in str(caught.value)
    assert not run.work.exists()


def test_a_folder_that_is_a_link_within_the_repository_is_taken(
    remote: Path, tmp_path: Path, linked: tuple[str, Path]
) -> None:
    taken = take_source(admitted(remote, "in", linked[0]), RunFolder(tmp_path / "run"), trees=tmp_path / "git")
    assert (taken.work / "train.py").read_text() == "real"
    assert taken.origin == (tmp_path / "git").resolve() / taken.origin.relative_to((tmp_path / "git").resolve())
    assert taken.origin.parts[-2:] == ("real", "sub")


def test_links_that_lead_out_are_copied_as_links_and_never_read(
    remote: Path, tmp_path: Path, linked: tuple[str, Path]
) -> None:
    name, secret = linked
    taken = take_source(admitted(remote, "real/sub", name), RunFolder(tmp_path / "run"), trees=tmp_path / "git")
    assert (taken.work / "key").is_symlink()
    assert (taken.work / "up").is_symlink()
    assert "PRIVATE KEY" not in "".join(
        path.read_text() for path in taken.work.rglob("*") if not path.is_symlink() and path.is_file()
    )
    (secret / "tls.key").write_text("ANOTHER KEY")
    assert source.scan(taken.origin).digest == taken.found.digest


@pytest.mark.parametrize("word", ["venv/tls.key", "venv", "--x=venv/tls.key", "real/../venv/tls.key"])
def test_a_word_of_the_command_brings_nothing_from_behind_a_link(
    remote: Path, tmp_path: Path, linked: tuple[str, Path], word: str
) -> None:
    """The set leaves out what is called venv, so the copy lacks it, and a word that names it has it copied."""
    taken = take_source(admitted(remote, ".", linked[0]), RunFolder(tmp_path / "run"), trees=tmp_path / "git")
    assert not (taken.work / "venv").exists()
    link = ["python", "train.py", "out/tls.key"]  # is in the copy as the link that it is: nothing is brought
    assert arguments.into_copy(link, taken.origin, taken.work, 1_000_000, foreign=[2]) == link
    with pytest.raises(RunRefusedError, match="leads out of the recipe's folder by a symbolic link"):
        arguments.into_copy(["python", "train.py", word], taken.origin, taken.work, 1_000_000, foreign=[2])
    assert not (taken.work / "venv").exists()
