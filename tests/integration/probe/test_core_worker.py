"""What a DataLoader worker sees waits in its recorder, travels with a batch and is written by the main process."""

from __future__ import annotations

from pathlib import Path

from collector import collect, script

TEXT = """
import multiprocessing, os
from detctl_probe.recording.recorder import recorder
from detctl_probe.digest.fingerprint import Fingerprint
r = recorder()

def work(pipe):
    mine = recorder()
    open("a.txt").close()              # before the loop: nobody's
    mine.become_worker()
    open("b.txt").close()
    mine.record("sample", "raw", Fingerprint(bytes(16), "x"))
    mine.note("no-op", "from a worker")
    mine.end_step()                    # a worker keeps no time
    mine.begin()
    pipe.send(mine.drain())
    assert mine.drain() == []

if __name__ == "__main__":
    context = multiprocessing.get_context(METHOD)
    for name in "ab": open(name + ".txt", "w").close()
    here, there = context.Pipe()
    worker = context.Process(target=work, args=(there,))
    worker.start()
    seen = here.recv()
    worker.join()
    r.begin()
    r.end_step()
    r.replay(seen)
    r.end_step()
"""


def test_workers_never_send_and_the_main_process_writes_at_its_own_step(tmp_path: Path) -> None:
    for method in ("fork", "spawn"):
        run = collect(script(tmp_path, TEXT.replace("METHOD", repr(method))), cwd=tmp_path)
        assert run.stderr == ""
        assert [p for p in run.processes if p.of("sample") and p.role != "main"] == []
        (sample,) = run.main.of("sample")
        assert (sample.step, sample.site) == (1, "raw")
        files = [record.evidence for record in run.main.of("files", 1)]
        mtime_ns = (tmp_path / "b.txt").stat().st_mtime_ns
        assert files == [{"file": "{cwd}/b.txt", "bytes": 0, "mtime_ns": mtime_ns}]
        assert [note["text"] for note in run.main.notes] == ["from a worker"]
        assert run.main.seal is not None
        assert run.main.seal["observers"]["files"]["fired"] >= 1


def test_facts_are_read_without_importing_anything(tmp_path: Path) -> None:
    text = "import sys\nbefore = set(sys.modules)\nfrom detctl_probe.process import facts\nf = facts.collect()\n"
    text += "print(sorted(set(sys.modules) - before), 'pytest' in f['packages'], f['hash_randomization'])"
    run = collect(script(tmp_path, text), cwd=tmp_path, env={"PYTHONHASHSEED": "5"})
    assert run.stdout == "[] True False\n"
    assert run.main.seal is not None
    assert run.main.seal["facts"]["variables"]["PYTHONHASHSEED"] == "5"
