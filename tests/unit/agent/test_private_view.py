"""A command in a private view of its folder: it sees everything, and changes nothing."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from detctl_agent.source.overlay import Overlays, clear, repository_of

NOBODY = 65534


@pytest.fixture(params=["root", "user"])
def who(request):
    if request.param == "root" and os.getuid() != 0:
        pytest.skip("needs root")
    if request.param == "user" and os.getuid() == 0:
        become = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        if subprocess.run([*become, sys.executable, "-c", ""], capture_output=True).returncode != 0:
            pytest.skip("another user may not run this interpreter")
        return become, NOBODY
    return [], os.getuid()


@pytest.fixture
def tmp_path():
    """A folder that another user reaches: pytest closes its own."""
    folder = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="detctl-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def project(tmp_path, who, monkeypatch):
    monkeypatch.setattr("detctl_proto.files.overlay_folders.SCRATCH", tmp_path / "var")
    folder = tmp_path / "a prøject, with: names"
    (folder / "data").mkdir(parents=True)
    for number in range(40):
        (folder / "data" / f"{hashlib.md5(bytes([number])).hexdigest()}.txt").write_text(str(number))
    (folder / "train.py").write_text("print(1)\n")
    (folder / ".detctl").mkdir()
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, who[1], who[1])
    return folder


def state_of(folder: Path) -> dict[str, object]:
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mode,
            path.stat().st_mtime_ns,
            path.is_file() and path.read_bytes(),
        )
        for path in [folder, *folder.rglob("*")]
    }


def run(view, who, project, code: str) -> subprocess.CompletedProcess[str]:
    os.chown(view.scratch, who[1], who[1])
    for parent in view.scratch.parents[:3]:
        parent.chmod(0o755)
    return subprocess.run(
        [*who[0], *view.command([sys.executable, "-I", "-S", "-c", code])], cwd=project, capture_output=True, text=True
    )


def test_writes_stay_private_and_everything_is_seen(project, who, tmp_path):
    before, listed = state_of(project), os.listdir(project / "data")
    view = Overlays(tmp_path / "state").view(project, "run")
    assert view
    code = f"""
import os
assert os.getcwd() == {str(project)!r}
assert (os.getuid(), os.getgid()) == ({who[1]}, {who[1]})
print(os.listdir("data"))
open("data/new", "w").write("n"); open("train.py", "a").write("#"); os.remove("data/" + {listed[0]!r}); os.mkdir("out")
print(sorted(os.listdir(".")))
"""
    ran = run(view, who, project, code)
    assert ran.returncode == 0, ran.stderr
    first, second = ran.stdout.splitlines()
    assert first == str(listed), "the overlay lists a folder that nobody wrote to in the order of the disk below it"
    assert second == "['.detctl', 'data', 'out', 'train.py']"
    assert state_of(project) == before
    clear(view.scratch)
    assert not view.scratch.exists()


def test_the_agents_own_folder_inside_is_written_for_real(project, who, tmp_path):
    os.chown(project / ".detctl", os.getuid(), -1)  # the agent's
    view = Overlays(project / ".detctl").view(project, "run")
    assert view
    os.chown(project / ".detctl", who[1], who[1])
    assert not view.scratch.is_relative_to(project)
    ran = run(view, who, project, "open('.detctl/kept', 'w').write('k'); open('lost', 'w').write('l')")
    clear(view.scratch)
    assert ran.returncode == 0, ran.stderr
    assert (project / ".detctl" / "kept").read_text() == "k"
    assert not (project / "lost").exists()


def test_the_exit_code_is_the_commands(project, who, tmp_path):
    view = Overlays(tmp_path / "state").view(project, "run")
    assert run(view, who, project, "import sys; sys.exit(7)").returncode == 7
    clear(view.scratch)


def test_without_namespaces_it_logs_why(project, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("detctl_agent.source.overlay.private_view.__file__", str(tmp_path / "refuses.py"))
    (tmp_path / "refuses.py").write_text("import sys; print('detctl: cannot cover', file=sys.stderr); sys.exit(125)")
    overlays = Overlays(tmp_path / "state")
    assert not overlays.can_cover(project)
    assert overlays.view(project, "run") is None
    assert [record.message.count("cannot cover") for record in caplog.records] == [1]


def test_what_a_killed_agent_left_is_swept(project, tmp_path):
    overlays = Overlays(project / ".detctl")
    view = overlays.view(project, "run")
    assert view
    (view.scratch / "work0" / "work").mkdir(parents=True, mode=0)
    Overlays(project / ".detctl").sweep()
    assert not view.scratch.exists()


def test_the_view_of_a_folder_in_a_repository_covers_the_repository(project, who, tmp_path):
    subprocess.run(["git", "init", "-q", project], check=True)
    scripts = project / "scripts"
    scripts.mkdir()
    for path in (scripts, project / ".git", *(project / ".git").rglob("*")):
        os.chown(path, who[1], who[1])
    before = state_of(project)
    view = Overlays(tmp_path / "state").view(scripts, "run", repository=True)
    assert view and view.folder == project
    code = "import os; os.mkdir('../out'); open('../out/last.pt', 'w').write('x'); print(os.getcwd())"
    ran = run(view, who, scripts, code)
    assert (ran.returncode, ran.stdout.strip()) == (0, str(scripts)), ran.stderr
    assert state_of(project) == before
    clear(view.scratch)
    alone = Overlays(tmp_path / "state").view(scripts, "run")
    assert alone and alone.folder == scripts
    clear(alone.scratch)


def test_a_home_folder_under_git_is_no_project(tmp_path):
    (tmp_path / ".git").mkdir()
    (tmp_path / "me" / "work").mkdir(parents=True)
    assert repository_of(tmp_path / "me" / "work", home=tmp_path / "me") is None
    assert repository_of(tmp_path / "me" / "work", home=tmp_path.parent / "you") == tmp_path
    (tmp_path / "me" / "work" / ".git").write_text("gitdir: elsewhere")  # a worktree
    assert repository_of(tmp_path / "me" / "work", home=tmp_path / "me") == tmp_path / "me" / "work"
    submodule = tmp_path / "me" / "work" / "lib"
    submodule.mkdir()
    (submodule / ".git").write_text("gitdir: ../.git/modules/lib")
    assert repository_of(submodule, home=tmp_path / "me") == tmp_path / "me" / "work"
