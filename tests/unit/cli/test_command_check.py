"""What a command runs, found without running it."""

from __future__ import annotations

import pytest
from detctl_cli.errors import UsageError
from detctl_cli.local.command_check import Target, check_command, target_of


@pytest.mark.parametrize(
    ("command", "target"),
    [
        ("python train.py", Target("script", "train.py")),
        ("python3.11 -u -W ignore -Xdev train.py -m x", Target("script", "train.py")),
        ("python -um pkg.train", Target("module", "pkg.train")),
        ("python -I -m pkg.train", Target("module", "pkg.train", safe_path=True)),
        ("python -c pass", None),
        ("python -", None),
        ("python -m torch.distributed.run --nproc-per-node 2 train.py", Target("script", "train.py")),
        ("torchrun --nproc-per-node=2 train.py --data x.py", Target("script", "train.py")),
        ("torchrun -m pkg.train", None),
        ("bash run.sh", Target("script", "run.sh")),
        ("bash -c ls", None),
        ("make train", None),
        ("env A=1 nice -n 10 python -u train.py", Target("script", "train.py")),
        ("uv run --no-sync python -m pkg.train", Target("module", "pkg.train")),
        ("conda run -n torch torchrun train.py", Target("script", "train.py")),
        ("uv run --python python3.11 train.py", None),
        ("uv run --directory src python train.py", None),
        ("env -C src python train.py", None),
    ],
)
def test_targets(command: str, target: Target | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    assert target_of(command.split()) == target


def test_what_cannot_be_decided_is_left_to_python(tmp_path):
    (tmp_path / "namespace").mkdir()
    for name in ("namespace.nothing", "not_here", "not_here.at_all"):
        check_command(["python", "-m", name], tmp_path)
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("__path__.append('elsewhere')\n")
    check_command(["python", "-m", "package.nothing"], tmp_path)
    (tmp_path / "package" / "__init__.py").write_text("")
    with pytest.raises(UsageError):
        check_command(["python", "-m", "package.nothing"], tmp_path)


@pytest.mark.parametrize(
    ("command", "hint"),
    [
        (["SEED=1", "python", "train.py"], "SEED=1 detctl audit -- COMMAND"),
        (["python train.py --lr 1"], "leave out the quotes"),
        (["cd", "src"], "bash -c"),
    ],
)
def test_what_only_a_shell_understands_is_explained(command, hint, tmp_path):
    with pytest.raises(UsageError) as problem:
        check_command(command, tmp_path)
    assert hint in problem.value.hint
