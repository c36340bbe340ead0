"""Every way a process can end, fork or start another must leave a seal that adds up, or visibly none."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from collector import collect, script, without_probe

STEPS = """
from detctl_probe.recording.recorder import recorder
from detctl_probe.digest.fingerprint import Fingerprint
r = recorder()
def step(n):
    r.begin()
    r.record("loss", "loss", Fingerprint(bytes([n]) * 16, "float32"))
    r.end_step()
"""


def test_a_script_without_torch_is_sealed_as_no_training(tmp_path: Path) -> None:
    run = collect(script(tmp_path, "print('done')"), cwd=tmp_path)
    assert (run.returncode, run.stdout) == (0, "done\n")
    assert run.main.seal is not None
    assert run.main.seal["reason"] == "exit"
    assert run.main.seal["training"] is False
    assert run.main.seal["steps_finished"] == 0
    assert run.main.sites("code") == ["command", "{cwd}/train.py"]


def test_steps_arrive_and_the_seal_adds_up(tmp_path: Path) -> None:
    run = collect(script(tmp_path, STEPS + "for n in range(5): step(n)"), cwd=tmp_path)
    main = run.main
    assert main.steps == [(n, False) for n in range(5)]
    assert [record.step for record in main.of("loss")] == [0, 1, 2, 3, 4]
    assert main.seal is not None
    assert (main.seal["steps_finished"], main.seal["last_step"], main.seal["training"]) == (5, 4, True)
    assert main.seal["streams"]["loss/train"]["count"] == 5


@pytest.mark.parametrize(
    ("ending", "code", "reason"),
    [
        ("raise ValueError('no')", 1, "exit"),
        ("import sys; sys.exit(7)", 7, "exit"),
        ("import os; os._exit(3)", 3, "os._exit"),
        ("import threading, os; t = threading.Thread(target=os._exit, args=(4,)); t.start(); t.join()", 4, "os._exit"),
    ],
)
def test_an_end_keeps_its_code_and_leaves_a_seal(tmp_path: Path, ending: str, code: int, reason: str) -> None:
    command = script(tmp_path, STEPS + "step(0)\nstep(1)\n" + ending)
    run = collect(command, cwd=tmp_path)
    assert run.returncode == code
    assert run.main.seal is not None
    assert run.main.seal["reason"] == reason
    assert run.main.seal["steps_finished"] == 2
    if "ValueError" in ending:
        assert run.main.seal["exception"] == "ValueError"
        assert run.stderr == without_probe_of_steps(tmp_path, ending)


def without_probe_of_steps(folder: Path, ending: str) -> str:
    """stderr of the bare program; its steps do nothing."""
    uninstrumented = "def step(n): pass" + "\n" * STEPS.count("\n") + "step(0)\nstep(1)\n" + ending
    return without_probe(script(folder, uninstrumented), cwd=folder).stderr


@pytest.mark.parametrize("signal", ["SIGTERM", "SIGKILL"])
def test_a_killed_process_has_no_seal(tmp_path: Path, signal: str) -> None:
    kill = f"import os, signal; os.kill(os.getpid(), signal.{signal})"
    run = collect(script(tmp_path, STEPS + "step(0)\n" + kill), cwd=tmp_path)
    assert run.returncode < 0
    assert run.main.seal is None
    assert run.main.steps == [(0, False)]


def test_a_forked_child_has_a_connection_and_a_sequence_of_its_own(tmp_path: Path) -> None:
    text = STEPS + "import os\nstep(0)\nif os.fork() == 0:\n    step(9)\n    os._exit(0)\nos.wait()\nstep(1)"
    run = collect(script(tmp_path, text), cwd=tmp_path)
    assert len(run.processes) == 2
    (child,) = run.children
    assert [record.digest[0] for record in child.of("loss")] == [9]
    assert [record.digest[0] for record in run.main.of("loss")] == [0, 1]
    assert child.hello["pid"] != run.main.hello["pid"]
    assert child.hello["ppid"] == run.main.hello["pid"]
    assert child.hello["process"] != run.main.hello["process"]
    assert child.seal is not None
    assert child.seal["reason"] == "os._exit"


def test_a_fork_while_another_thread_records_does_not_lock_the_child(tmp_path: Path) -> None:
    text = (
        STEPS
        + """
import os, threading
stop = threading.Event()
def busy():
    while not stop.is_set():
        r.record("files", "main", Fingerprint(bytes(16), "x"))
threads = [threading.Thread(target=busy) for _ in range(2)]
for t in threads: t.start()
for _ in range(20):
    pid = os.fork()
    if pid == 0:
        step(0)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
stop.set()
for t in threads: t.join()
"""
    )
    run = collect(script(tmp_path, text), cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert len(run.children) == 20
    assert all(child.seal is not None for child in run.children)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children_of_multiprocessing_are_observed(tmp_path: Path, method: str) -> None:
    text = f"""
import multiprocessing
def work(n):
    from detctl_probe.recording.recorder import recorder
    from detctl_probe.digest.fingerprint import Fingerprint
    recorder().record("loss", "loss", Fingerprint(bytes([n]) * 16, "float32"))
    recorder().end_step()
if __name__ == "__main__":
    context = multiprocessing.get_context("{method}")
    children = [context.Process(target=work, args=(n,)) for n in (1, 2)]
    for child in children: child.start()
    for child in children: child.join()
"""
    run = collect(script(tmp_path, text), cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    trained = [child for child in run.children if child.of("loss")]
    assert sorted(child.of("loss")[0].digest[0] for child in trained) == [1, 2]
    assert all(child.seal is not None for child in trained)
    assert run.stderr == ""


def test_a_subprocess_is_a_child(tmp_path: Path) -> None:
    (tmp_path / "other.py").write_text("print('other')")
    text = "import subprocess, sys\nsubprocess.run([sys.executable, 'other.py'], check=True)"
    run = collect(script(tmp_path, text), cwd=tmp_path)
    assert run.stdout == "other\n"
    (child,) = run.children
    assert child.sites("code") == ["command", "{cwd}/other.py"]


def test_modules_of_the_user_are_code_and_a_forked_child_that_trains_has_all_of_it(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    for name in ("net/__init__.py", "net/layers.py", "late.py", "unused.py"):
        (tmp_path / name).write_text(f"# {name}")
    lines = (
        "import os, json, net.layers\nif os.fork() == 0:\n    step(0)\n    import late\n    step(1)\n    os._exit(0)\n"
    )
    run = collect(script(tmp_path, STEPS + lines + "os.wait()\nstep(0)"), cwd=tmp_path)
    (child,) = run.children
    for process in (run.main, child):
        sites = ["command", "{cwd}/train.py", "{cwd}/net/__init__.py", "{cwd}/net/layers.py"]
        assert process.sites("code") == sites and not process.notes_of("observer-failed")


def test_exec_keeps_the_role(tmp_path: Path) -> None:
    (tmp_path / "other.py").write_text("print('other')")
    text = "import os, sys\nos.execv(sys.executable, [sys.executable, 'other.py'])"
    run = collect(script(tmp_path, text), cwd=tmp_path)
    assert run.stdout == "other\n"
    assert run.main.sites("code") == ["command", "{cwd}/other.py"]


def test_an_isolated_interpreter_reports_nothing(tmp_path: Path) -> None:
    script(tmp_path, "print('alone')")
    run = collect([sys.executable, "-I", "train.py"], cwd=tmp_path)
    assert run.stdout == "alone\n"
    assert run.processes == []


def test_the_hidden_sitecustomize_runs(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "sitecustomize.py").write_text("import builtins\nbuiltins.mine = __file__\n")
    text = "import sitecustomize\nprint(mine, sitecustomize.__file__)"
    run = collect(script(tmp_path, text), cwd=tmp_path, env={"PYTHONPATH": str(own)})
    path = str(own / "sitecustomize.py")
    assert run.stdout == f"{path} {path}\n"
    assert run.main.seal is not None


def test_a_hidden_sitecustomize_that_fails_is_reported_as_ever(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "sitecustomize.py").write_text("raise RuntimeError('mine')\n")
    run = collect(script(tmp_path, "print('on')"), cwd=tmp_path, env={"PYTHONPATH": str(own)})
    assert run.stdout == "on\n"
    assert "Error in sitecustomize" in run.stderr
    assert "mine" in run.stderr


def test_nobody_listening_costs_one_line(tmp_path: Path) -> None:
    text = "import os, json\ns = json.loads(os.environ['DETCTL_PROBE'])\nos.unlink(s['socket'])\n" + STEPS
    run = collect(script(tmp_path, text + "step(0)\nstep(1)\nprint('on')"), cwd=tmp_path)
    assert (run.returncode, run.stdout) == (0, "on\n")
    assert run.processes == []
    assert len(run.stderr.splitlines()) == 1
    assert "the training continues" in run.stderr


def test_a_program_that_closes_all_descriptors_keeps_its_files_clean(tmp_path: Path) -> None:
    text = (
        STEPS + "import os\nstep(0)\nos.closerange(3, 256)\nfiles = [open(f'own{n}', 'wb') for n in range(20)]\nstep(1)"
    )
    run = collect(script(tmp_path, text), cwd=tmp_path)
    assert run.returncode == 0
    assert run.main.seal is None
    assert run.main.steps == [(0, False)]
    assert [(tmp_path / f"own{n}").read_bytes() for n in range(20)] == [b""] * 20
    assert len(run.stderr.splitlines()) == 1


def test_the_window_ends_the_recording_not_the_training(tmp_path: Path) -> None:
    text = STEPS + "for n in range(9): step(n)\nprint(r.recording)"
    run = collect(script(tmp_path, text), cwd=tmp_path, window=[0, 4])
    assert run.stdout == "False\n"
    assert [record.step for record in run.main.of("loss")] == [0, 1, 2, 3]
    assert run.main.seal is not None
    assert run.main.seal["reason"] == "window"
    assert run.main.seal["steps_finished"] == 4


def test_a_window_that_begins_late_keeps_the_start(tmp_path: Path) -> None:
    text = "import random\nrandom.seed(3)\n" + STEPS
    text += "r.record('init', 'w', Fingerprint(bytes(16), 'float32'))\nfor n in range(6): step(n)"
    run = collect(script(tmp_path, text), cwd=tmp_path, window=[3, 5])
    main = run.main
    assert [record.step for record in main.of("loss")] == [3, 4]
    assert main.sites("init") == ["w"]
    assert "seed/random.seed" in main.sites("rng", 0)
    assert main.sites("code")
    assert sorted({record.step for record in main.of("rng")}) == [0, 3, 4]


def test_a_stop_frame_ends_after_its_step(tmp_path: Path) -> None:
    # until the frame is there
    wait = (
        "step(0)\nimport select\nif r._link.stop_after is None: select.select([r._link._connection._socket], [], [])\n"
    )
    run = collect(script(tmp_path, STEPS + wait + "for n in range(9): step(n)"), cwd=tmp_path, stop_after=2)
    assert run.main.seal is not None
    assert run.main.seal["reason"] == "stop"
    assert run.main.steps[-1] == (2, False)


def test_level_step_folds_to_one_record_a_stage(tmp_path: Path) -> None:
    text = STEPS + "for n in range(3):\n    r.record('forward', 'a', Fingerprint(bytes(16), 'f'))\n    step(n)"
    run = collect(script(tmp_path, text), cwd=tmp_path, level="step")
    assert [(r.site, r.shape, r.step) for r in run.main.of("forward")] == [("*", (1,), n) for n in range(3)]
    assert run.main.sites("code") == ["command", "{cwd}/train.py"]


def test_a_launcher_declares_itself(tmp_path: Path) -> None:
    (tmp_path / "torchrun").write_text(
        "import subprocess, sys\nsubprocess.run([sys.executable, 'train.py'], check=True)"
    )
    script(tmp_path, STEPS + "step(0)")
    run = collect([sys.executable, "torchrun"], cwd=tmp_path)
    assert sorted(process.role for process in run.processes) == ["launcher", "main"]
    assert run.main.of("loss")


@pytest.mark.slow
def test_torchrun_gives_each_rank_its_own_sequence(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    script(
        tmp_path,
        "import torch.distributed as dist\ndist.init_process_group('gloo')\n" + STEPS + "step(dist.get_rank())",
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "train.py"]
    run = collect(command, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    ranks = {p.seal["rank"]: p for p in run.processes if p.role == "main" and p.seal is not None}
    assert sorted(ranks) == [0, 1]
    assert all(process.of("loss")[0].digest[0] == rank for rank, process in ranks.items())
    assert all(process.seal is not None and process.seal["world_size"] == 2 for process in ranks.values())
    assert [p.seal["training"] for p in run.processes if p.role == "launcher" and p.seal is not None] == [False]


def test_a_failing_observer_leaves_the_others(tmp_path: Path) -> None:
    text = """
import json, os
from detctl_probe import start
from detctl_probe.recording.recorder import recorder
start.install(recorder(), "observe.nothing_of_the_kind", "sample")
print("on")
"""
    run = collect(script(tmp_path, text), cwd=tmp_path)
    assert run.stdout == "on\n"
    assert len(run.stderr.splitlines()) == 1
    assert run.main.seal is not None
    assert "ModuleNotFoundError" in run.main.seal["observers"]["nothing_of_the_kind"]["failed"]
    assert any(row["stage"] == "sample" for row in run.main.seal["unobserved"])
    assert run.main.notes_of("observer-failed")


@pytest.mark.parametrize("version", ["3.9.18", "3.13.0"])
def test_old_and_new_interpreters(tmp_path: Path, version: str) -> None:
    python = Path(f"/root/.pyenv/versions/{version}/bin/python")
    if not os.access(python, os.X_OK):
        pytest.skip(f"no Python {version} here")
    script(tmp_path, STEPS + "for n in range(3): step(n)\nimport os\nos._exit(5)")
    run = collect([str(python), "train.py"], cwd=tmp_path)
    assert run.returncode == 5
    assert run.stderr == ""
    assert run.main.seal is not None
    assert run.main.seal["reason"] == "os._exit"
    assert run.main.hello["python"] == version
