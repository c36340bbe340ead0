"""What a training's own code reads outside, in real processes: clock, folder, process, times, commands, databases."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from collector import collect, script
from test_core_observers import PYTHONS, interpreter

READS = """import ast, getpass, os, os.path, pathlib, socket, sqlite3, subprocess, time
start = time.time()
here = os.getcwd()
below = pathlib.Path("x").resolve()
home = os.path.expanduser("~/cache")
host = socket.gethostname()
pid = os.getpid() % 7
out = subprocess.check_output(["sort", "train.py"])
done = subprocess.run("echo a | shuf", shell=True, stdout=subprocess.PIPE)
base = sqlite3.connect(":memory:")
base.execute("create table t (a)")
base.executemany("insert into t values (?)", [(i,) for i in range(5)])
rows = base.execute("select a from t order by random()").fetchall()
rest = base.execute("select a from t").fetchall()
for _ in range(1000):
    time.perf_counter()
from detctl_probe.recording.recorder import recorder
recorder().begin()
print(type(time.time).__name__ != "function", os.stat in os.supports_dir_fd, len(rows), time.sleep is not None)
"""


@pytest.mark.parametrize("version", PYTHONS)
def test_reads_have_their_lines(tmp_path: Path, version: str) -> None:
    script(tmp_path, READS)
    run = collect([interpreter(version), "train.py"], cwd=tmp_path)
    assert run.stderr == "" and run.stdout == "True True 5 True\n"
    notes = run.main.notes
    assert not [note for note in notes if note["kind"] == "observer-failed"]
    found = {note["line"]: note for note in notes if note["kind"] == "outside"}
    sources = {line: note["source"] for line, note in found.items()}
    assert sources == {2: "clock", 3: "folder", 4: "folder", 5: "home", 6: "host", 7: "process", 16: "clock"}
    assert found[3]["value"] == str(tmp_path) and found[7]["use"] == "value" and "use" not in found[2]
    commands = {(n["line"], "digest" in n): n for n in notes if n["kind"] == "command"}
    assert commands[8, True]["programs"] == ["sort"] and commands[9, True]["drawing"]
    queries = {n["line"]: n for n in notes if n["kind"] == "query"}
    assert queries[13]["draws"] and not queries[14]["ordered"] and queries[14]["rows"] == 5


TIMES = """import os, pathlib
from detctl_probe.recording.recorder import recorder
by_path = sorted(pathlib.Path("d").iterdir(), key=lambda p: p.stat().st_mtime)
by_name = sorted(os.listdir("d"), key=lambda n: os.path.getmtime("d/" + n))
with os.scandir("d") as found:
    entries = sorted(found, key=lambda e: e.stat().st_mtime)
sizes = [os.path.getsize("d/" + n) for n in os.listdir("d")]
recorder().begin()
print([p.name for p in by_path] == by_name == [e.name for e in entries])
"""


@pytest.mark.parametrize("version", PYTHONS)
def test_times_of_files_give_an_order(tmp_path: Path, version: str) -> None:
    digests = []
    for number, names in enumerate(("abc", "cab")):
        folder = tmp_path / str(number)
        (folder / "d").mkdir(parents=True)
        for at, name in enumerate(names):
            (folder / "d" / name).write_text(name)
            os.utime(folder / "d" / name, (at + 1, at + 1))
        script(folder, TIMES)
        run = collect([interpreter(version), "train.py"], cwd=folder)
        assert run.stderr == "" and run.stdout == "True\n"
        noted = {note["line"]: note for note in run.main.notes if note["kind"] == "file-times"}
        assert {3, 4, 6} <= set(noted) and {note["count"] for note in noted.values()} == {3}
        digests.append({line: (note["names"], note["by_time"]) for line, note in noted.items()})
    for line in (3, 4, 6):
        assert digests[0][line][0] == digests[1][line][0] and digests[0][line][1] != digests[1][line][1]


ELSEWHERE = """import json, os
import dataclasses, uuid
from detctl_probe.recording.recorder import recorder
open("near.txt").close()
for name in (os.path.expanduser("~/far.txt"), "../beside.txt", "../beside.txt", os.__file__):
    open(name).close()
made = dataclasses.make_dataclass("Run", [("id", object, dataclasses.field(default_factory=uuid.uuid4))])
run = made()
recorder().begin()
"""


@pytest.mark.parametrize("version", PYTHONS)
def test_files_outside_of_the_places_and_generated_code_have_names(tmp_path: Path, version: str) -> None:
    folder, home = tmp_path / "work", tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    for path in (folder / "near.txt", home / "far.txt", tmp_path / "beside.txt"):
        path.write_text("x")
    script(folder, ELSEWHERE)
    run = collect([interpreter(version), "train.py"], cwd=folder, env={"HOME": str(home)})
    assert run.stderr == ""
    held = {note["file"]: note["path"] for note in run.main.notes if note["kind"] == "file-held"}
    assert held == {"~/far.txt": str(home / "far.txt"), "../beside.txt": str(tmp_path / "beside.txt")}
    assert [(n["file"], n["line"]) for n in run.main.notes if n["kind"] == "identity"] == [("{cwd}/train.py", 8)]
