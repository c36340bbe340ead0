"""Observers of the stdlib: listings, files, seeds and generators, in real processes."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from collector import Process, collect, script, without_probe

PYTHONS = ["3.9.18", "3.10.13", "3.11.7", "3.12.1", "3.13.0"]
NAMES = ["zebra.txt", "ant.txt", "mouse.txt", "bee.txt", "yak.txt"]

# name -> program that prints, as a list, the names it got from DATA
WAYS = {
    "listdir": "print(os.listdir(DATA))",
    "listdir of bytes": "print([os.fsdecode(n) for n in os.listdir(os.fsencode(DATA))])",
    "listdir of a descriptor": "print(os.listdir(os.open(DATA, os.O_RDONLY)))",
    "scandir": "print([e.name for e in os.scandir(DATA)])",
    "scandir with": "with os.scandir(DATA) as entries: print([e.name for e in entries])",
    "walk": "print([n for _, _, files in os.walk(DATA) for n in files])",
    "glob": "print([os.path.basename(n) for n in glob.glob(DATA + '/*.txt')])",
    "iglob": "print([os.path.basename(n) for n in glob.iglob(DATA + '/*')])",
    "iterdir": "print([p.name for p in pathlib.Path(DATA).iterdir()])",
    "Path.glob": "print([p.name for p in pathlib.Path(DATA).glob('*.txt')])",
    "rglob": "print([p.name for p in pathlib.Path(DATA).rglob('*.txt')])",
}


def interpreter(version: str) -> str:
    path = f"/root/.pyenv/versions/{version}/bin/python"
    if not os.access(path, os.X_OK):
        pytest.skip(f"no Python {version} here")
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for name in NAMES:
        (folder / name).write_text(name)
    return folder


def program(data: Path, text: str) -> str:
    # One import a line before the probe could have seen them in use: each binds the patched calls its own way.
    return f"import glob, os, pathlib, sys\nDATA = {str(data)!r}\n{text}"


@pytest.mark.parametrize("version", PYTHONS)
def test_every_way_to_list_is_seen_in_its_order(tmp_path: Path, data: Path, version: str) -> None:
    python = interpreter(version)
    script(tmp_path, program(data, "\n".join(WAYS.values())))
    uninstrumented = without_probe([python, "train.py"], cwd=tmp_path)
    run = collect([python, "train.py"], cwd=tmp_path, paths={"data": str(data)})
    assert run.stderr == ""
    assert run.stdout == uninstrumented.stdout, "the probe changed what the program got"
    printed: list[list[str]] = [eval(line) for line in run.stdout.splitlines()]
    listed = by_line(run.main)
    for (way, _), line, names in zip(WAYS.items(), sorted(listed), printed, strict=True):
        assert names in listed[line], way
    assert {record.site for record in run.main.of("listing")} == {"{data}"}


def by_line(process: Process) -> dict[int, list[list[str]]]:
    listed: dict[int, list[list[str]]] = {}
    for record in process.of("listing"):
        assert record.evidence is not None
        listed.setdefault(record.evidence["line"], []).append(record.evidence["first"])
    return listed


@pytest.mark.parametrize("version", PYTHONS)
def test_modules_that_kept_the_originals_are_rebound(tmp_path: Path, data: Path, version: str) -> None:
    """A .pth file may have imported pathlib before the probe starts; 3.9, 3.10 and 3.13 keep references there."""
    python = interpreter(version)
    late = "import os, sys, pathlib, glob\nsys.path.insert(0, os.environ['PYTHONPATH'].split(':')[0])\n"
    late += "from detctl_probe.start import start; start()\n"
    script(tmp_path, late + program(data, "\n".join(WAYS.values())))
    run = collect([python, "-I", "train.py"], cwd=tmp_path, paths={"data": str(data)})
    assert run.stderr == ""
    listed = by_line(run.main)
    assert len(listed) == len(WAYS)
    for (way, _), line, printed in zip(WAYS.items(), sorted(listed), run.stdout.splitlines(), strict=True):
        assert eval(printed) in listed[line], way


def test_an_undeclared_folder_counts_where_the_user_lists_it(tmp_path: Path, data: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    command = script(elsewhere, program(data, "\n".join(WAYS.values())))
    run = collect(command, cwd=elsewhere)
    assert set(by_line(run.main)) == set(range(3, 3 + len(WAYS)))
    assert {record.site for record in run.main.of("listing")} == {str(data)}


@pytest.mark.parametrize("version", PYTHONS)
def test_the_intervention_sorts_every_way(tmp_path: Path, data: Path, version: str) -> None:
    python = interpreter(version)
    script(tmp_path, program(data, "\n".join(WAYS.values())))
    run = collect([python, "train.py"], cwd=tmp_path, paths={"data": str(data)}, interventions={"listing": "sorted"})
    lines = run.stdout.splitlines()
    assert len(lines) == len(WAYS)
    assert [eval(line) for line in lines] == [sorted(NAMES)] * len(WAYS)
    assert all(record.evidence is not None and record.evidence["sorted"] for record in run.main.of("listing"))
    (read_back,) = run.main.seal_row("interventions")
    assert (read_back["value"], read_back["acted"]) == ("sorted", True)
    assert "listings sorted" in read_back["detail"]


def test_shuffled_is_the_same_on_every_machine(tmp_path: Path) -> None:
    outputs = []
    for machine, names in (("a", NAMES), ("b", list(reversed(NAMES)))):
        folder = tmp_path / machine / "data"
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).write_text(name)
        command = script(tmp_path, program(folder, "print(os.listdir(DATA))"))
        run = collect(command, cwd=tmp_path, paths={"data": str(folder)}, interventions={"listing": "shuffled:7"})
        outputs.append(run.stdout)
    assert outputs[0] == outputs[1]
    assert eval(outputs[0]) != sorted(NAMES)
    command = script(tmp_path, program(folder, "print(os.listdir(DATA))"))
    other = collect(command, cwd=tmp_path, paths={"data": str(folder)}, interventions={"listing": "shuffled:8"})
    assert other.stdout != outputs[0]


def test_an_unknown_listing_order_is_an_error_and_acts_on_nothing(tmp_path: Path, data: Path) -> None:
    command = script(tmp_path, program(data, "os.listdir(DATA)"))
    run = collect(command, cwd=tmp_path, interventions={"listing": "backwards"})
    (read_back,) = run.main.seal_row("interventions")
    assert read_back["acted"] is False
    assert "use sorted or shuffled" in run.stderr
    assert len(run.stderr.splitlines()) == 1


def test_the_same_names_in_another_order_differ_only_in_order(tmp_path: Path, data: Path) -> None:
    prints: list[Any] = []
    for order in ("sorted", "shuffled:1"):
        command = script(tmp_path, program(data, "os.listdir(DATA)"))
        run = collect(command, cwd=tmp_path, paths={"data": str(data)}, interventions={"listing": order})
        prints.extend(run.main.of("listing"))
    assert prints[0].digest != prints[1].digest
    assert prints[0].order_blind == prints[1].order_blind
    assert prints[0].rows != prints[1].rows
    assert sorted(prints[0].rows) == sorted(prints[1].rows)


def test_listings_of_libraries_and_of_temporary_folders_are_nobodys_data(tmp_path: Path) -> None:
    text = (
        "import shutil, tempfile, importlib.metadata\n"
        "shutil.rmtree(tempfile.mkdtemp())\nlist(importlib.metadata.distributions())\nimport json.tool\n"
    )
    run = collect(script(tmp_path, text), cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert run.main.of("listing") == []


def test_a_scan_that_stops_early_reports_it(tmp_path: Path, data: Path) -> None:
    text = "with os.scandir(DATA) as entries: next(entries)\nos.scandir(DATA).close()"
    run = collect(script(tmp_path, program(data, text)), cwd=tmp_path, paths={"data": str(data)})
    (record,) = run.main.of("listing")
    assert record.shape == (1,)
    assert record.evidence is not None
    assert record.evidence["whole"] is False


def test_patched_calls_behave_like_the_originals(tmp_path: Path, data: Path) -> None:
    text = """
import copy, inspect, pickle, posix, shutil, builtins, io
for call in (os.listdir, os.scandir, os.open, open, os.urandom, os._exit):
    assert copy.deepcopy(call) is call
    assert pickle.loads(pickle.dumps(call)) is call, call
    assert call.__doc__ and call.__name__
class Holder:
    keep = os.listdir
assert sorted(Holder().keep(DATA)) == sorted(os.listdir(DATA))
assert os.listdir == posix.listdir and os.open in os.supports_dir_fd and os.scandir in os.supports_fd
assert shutil.rmtree.avoids_symlink_attacks
assert open is io.open and str(inspect.signature(os.listdir)) == "(path=None)"
entry = next(os.scandir(DATA))
assert type(entry) is os.DirEntry and entry.is_file()
for wrong, error in ((lambda: os.listdir("/no/such"), FileNotFoundError), (lambda: os.scandir(3.5), TypeError),
                     (lambda: open(DATA + "/none"), FileNotFoundError), (lambda: os.listdir(1, 2), TypeError)):
    try: wrong()
    except error: pass
    else: raise AssertionError(wrong)
print("like the originals")
"""
    run = collect(script(tmp_path, program(data, text)), cwd=tmp_path)
    assert run.stdout == "like the originals\n", run.stderr


def test_the_content_of_settings_files_is_reported_and_reading_them_disturbs_nobody(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("lr: 0.1")
    (tmp_path / "notes.txt").write_text("none of them")
    os.mkfifo(tmp_path / "pipe.json")
    text = """
import os
with open("config.yaml") as file:
    print(file.read(3), file.read())
open("notes.txt").close()
os.close(os.open("pipe.json", os.O_RDONLY | os.O_NONBLOCK))
from detctl_probe.recording.recorder import recorder
recorder().begin()
"""
    run = collect(script(tmp_path, text), cwd=tmp_path)
    assert run.stdout == "lr:  0.1\n", run.stderr
    reported = {record.evidence["file"]: "content" in record.evidence for record in run.main.of("files")}
    assert reported == {"{cwd}/config.yaml": True, "{cwd}/notes.txt": False, "{cwd}/pipe.json": False}


def test_files_are_recorded_by_logical_name_in_order(tmp_path: Path, data: Path) -> None:
    text = """
open(DATA + "/bee.txt").close(); pathlib.Path(DATA, "ant.txt").read_bytes()
os.close(os.open(DATA + "/yak.txt", os.O_RDONLY))
open(DATA + "/new.txt", "w").close(); open(os.devnull).close(); open(__file__).close()
"""
    run = collect(script(tmp_path, program(data, text)), cwd=tmp_path, paths={"data": str(data)})
    found = [record.evidence for record in run.main.of("files") if record.evidence]
    assert [row["mtime_ns"] for row in found] == [
        (data / name).stat().st_mtime_ns for name in ("bee.txt", "ant.txt", "yak.txt")
    ]
    files = [{key: row[key] for key in ("file", "bytes")} for row in found]
    assert files == [
        {"file": "{data}/bee.txt", "bytes": 7},
        {"file": "{data}/ant.txt", "bytes": 7},
        {"file": "{data}/yak.txt", "bytes": 7},
    ]


def test_the_same_data_under_another_path_records_the_same(tmp_path: Path) -> None:
    seen: list[list[tuple[Any, ...]]] = []
    for machine in ("a", "b"):
        folder = tmp_path / machine / ("data" * (1 + len(seen)))
        folder.mkdir(parents=True)
        (folder / "only.txt").write_text("1")
        text = "import os, sys\nfor name in os.listdir(sys.argv[1]): open(sys.argv[1] + '/' + name).read()"
        command = script(tmp_path, text)
        run = collect([*command, str(folder)], cwd=tmp_path, paths={"data": str(folder)})
        seen.append(run.main.compared())
    assert seen[0] == seen[1]
    assert len(seen[0]) == 4


def test_seeding_calls_carry_value_and_caller(tmp_path: Path) -> None:
    text = "import random\nclass Own(random.Random): pass\nrandom.seed(3)\nOwn(5)\nassert isinstance(Own(6), random.Random)"
    run = collect(script(tmp_path, text), cwd=tmp_path)
    seeds = [(r.site, r.evidence["value"], r.evidence["line"]) for r in run.main.of("rng") if r.evidence]
    assert seeds == [("seed/random.seed", "3", 3), ("seed/random.Random", "5", 4), ("seed/random.Random", "6", 5)]
    assert run.main.notes == []


@pytest.mark.parametrize(
    ("statement", "kind", "word"),
    [
        ("random.seed()", "unseeded-rng", "random.seed"),
        ("random.Random()", "unseeded-rng", "random.Random"),
        ("random.seed(int(time.time()))", "identity", "the clock"),
        ("random.seed(time.time_ns())", "identity", "the clock"),
        ("random.seed(os.getpid())", "identity", "the process id"),
        ("uuid.uuid4()", "identity", "uuid.uuid4 gives"),
        ("secrets.token_hex()", "identity", "secrets.token_hex"),
        ("random.SystemRandom().random()", "identity", "random.SystemRandom"),
        ("os.urandom(4)", "identity", "os.urandom"),
        ("open('/dev/urandom', 'rb').read(4)", "identity", "/dev/urandom"),
        ("pathlib.Path('/dev/random').open('rb').read(1)", "identity", "/dev/random"),
        ("os.read(os.open('/dev/urandom', os.O_RDONLY), 4)", "identity", "/dev/urandom"),
    ],
)
def test_what_no_seed_reaches_is_named_with_its_line(tmp_path: Path, statement: str, kind: str, word: str) -> None:
    text = f"import os, pathlib, random, secrets, time, uuid\n\n{statement}\n"
    run = collect(script(tmp_path, text), cwd=tmp_path)
    notes = [note for note in run.main.notes_of(kind) if word in note["text"]]
    assert [(note["file"], note["line"]) for note in notes] == [("{cwd}/train.py", 3)]


def test_what_libraries_draw_for_themselves_is_not_named(tmp_path: Path) -> None:
    text = "import random, tempfile, random\nrandom.seed(1)\ntempfile.NamedTemporaryFile().close()\nrandom.seed(1234)"
    run = collect(script(tmp_path, text), cwd=tmp_path)
    assert run.main.notes == []


def test_a_global_generator_that_nobody_seeded_is_named(tmp_path: Path) -> None:
    text = "import random\n{seed}\nrandom.random()\nfrom detctl_probe.recording.recorder import recorder\nrecorder().begin()\n"
    unseeded = collect(script(tmp_path, text.format(seed="")), cwd=tmp_path)
    (note,) = unseeded.main.notes_of("unseeded-rng")
    assert (note["generator"], note["file"], note["line"]) == ("random", "{cwd}/train.py", 3)
    assert note["uses"] == ["{cwd}/train.py:3: random.random()"]
    seeded = collect(script(tmp_path, text.format(seed="random.seed(1)")), cwd=tmp_path)
    assert seeded.main.notes == []


def test_what_was_drawn_before_the_first_seed_is_reported(tmp_path: Path) -> None:
    text = "import random\n{first}\nrandom.seed(3)\nrandom.random()\nrandom.seed(4)\n"
    early = collect(script(tmp_path, text.format(first="random.random()")), cwd=tmp_path)
    reported = [(note["text"], note["line"]) for note in early.main.notes_of("drawn-before-seed")]
    assert reported == [("the global generator of random was drawn from before random.seed was first called", 3)]
    assert collect(script(tmp_path, text.format(first="")), cwd=tmp_path).main.notes == []


@pytest.mark.parametrize(
    ("line", "reported"),
    [
        ("np.random.RandomState()", True),
        ("np.random.RandomState(seed)", True),
        ("np.random.SeedSequence(entropy=self.given)", True),
        ("np.random.RandomState(self.fixed)", False),
        ("np.random.RandomState(unknown + 1)", False),
    ],
)
def test_a_native_generator_of_a_package_is_named_where_its_seed_is_none(
    tmp_path: Path, line: str, reported: bool
) -> None:
    package = tmp_path / "site-packages" / "sampling.py"
    package.parent.mkdir()
    package.write_text(
        "import numpy as np\nunknown = 1\nclass Sampler:\n    def __init__(self, seed=None):\n"
        f"        self.given, self.fixed = seed, 3\n        self.rng = {line}\n        if seed is not None: self.rng.seed(seed)\n"
    )
    text = 'import sys\nsys.path.append("site-packages")\nimport sampling\nsampling.Sampler({seed})\n'
    run = collect(script(tmp_path, text.format(seed="")), cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert [(note["package"], note["line"]) for note in run.main.notes] == [("sampling", 4)] * reported
    given = collect(script(tmp_path, text.format(seed="7")), cwd=tmp_path)
    assert given.main.notes == []


def test_a_generator_that_nobody_uses_makes_no_difference(tmp_path: Path) -> None:
    text = (
        "import random, torch, numpy\n{use}\nfrom detctl_probe.recording.recorder import recorder\nrecorder().begin()"
    )
    unused, again = (collect(script(tmp_path, text.format(use="")), cwd=tmp_path).main.compared() for _ in range(2))
    assert unused == again
    used, again = (
        collect(script(tmp_path, text.format(use="numpy.random.rand()")), cwd=tmp_path).main for _ in range(2)
    )
    differing = [a[4] for a, b in zip(used.compared(), again.compared(), strict=True) if a != b]
    assert differing == ["numpy"]
    assert [note["generator"] for note in used.notes_of("unseeded-rng")] == ["numpy"]


@pytest.mark.parametrize(
    ("folder", "use", "generators"),
    [
        ("site-packages", "", []),
        ("site-packages", "naming.fresh()", ["random"]),
        ("site-packages", "import random; random.random()", ["random"]),
        ("lib", "", ["random"]),
    ],
)
def test_what_a_package_draws_while_it_is_imported_is_no_use_of_a_generator(
    tmp_path: Path, folder: str, use: str, generators: list[str]
) -> None:
    module = tmp_path / folder / "naming.py"
    module.parent.mkdir()
    module.write_text("from random import getrandbits\nstart = getrandbits(24)\ndef fresh(): return getrandbits(24)\n")
    text = (
        f'import sys\nsys.path.append("{folder}")\nimport naming\n{use}\n'
        "from detctl_probe.recording.recorder import recorder\nrecorder().begin()"
    )
    one, other = (collect(script(tmp_path, text), cwd=tmp_path).main for _ in range(2))
    assert [note["generator"] for note in one.notes_of("unseeded-rng")] == generators
    pairs = zip(one.of("rng", 0), other.of("rng", 0), strict=True)
    assert [a.site for a, b in pairs if a.digest != b.digest] == generators


@pytest.mark.parametrize(("use", "differing"), [("", []), ("random.random()", ["random"])])
def test_a_fork_seeds_random_from_the_system_which_counts_where_somebody_draws(
    tmp_path: Path, use: str, differing: list[str]
) -> None:
    text = f"""
import os, random
random.seed(1)
from detctl_probe.recording.recorder import recorder
if os.fork() == 0:
    {use}
    recorder().begin()
    recorder().end_step()
    os._exit(0)
os.wait()
"""
    runs = [collect(script(tmp_path, text), cwd=tmp_path) for _ in range(2)]
    (ours,), (theirs,) = (run.children for run in runs)
    pairs = zip(ours.of("rng", 0), theirs.of("rng", 0), strict=True)
    assert [a.site for a, b in pairs if a.digest != b.digest] == differing
    never = "the global generator of random is used, and random.seed was not called after the fork"
    assert [note["text"] for note in ours.notes_of("unseeded-rng")] == ([never] if use else [])


def test_random_sequences_are_the_same_with_and_without_the_probe(tmp_path: Path) -> None:
    text = """
import random
random.seed(11)
values = [random.random() for _ in range(3)]
try:
    from detctl_probe.recording.recorder import recorder
    recorder().begin()
    step = recorder().end_step
except (ImportError, AttributeError):  # the uninstrumented run
    step = lambda: None
for _ in range(3):
    step()
    values.append(random.random())
    values.append(random.gauss(0, 1))
print(values, random.Random(4).random(), sorted(vars(random)) == sorted(dir(random)))
"""
    command = script(tmp_path, text)
    assert collect(command, cwd=tmp_path).stdout == without_probe(command, cwd=tmp_path).stdout


def test_generators_of_torch_and_numpy_are_read_and_left_alone(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    text = """
import random, torch, numpy
random.seed(1); numpy.random.seed(2); torch.manual_seed(3)
try:
    from detctl_probe.recording.recorder import recorder
    recorder().begin()
    step = recorder().end_step
except (ImportError, AttributeError):  # the uninstrumented run
    step = lambda: None
for _ in range(3):
    step()
    print(random.random(), numpy.random.rand(), torch.rand(1).item(), numpy.random.default_rng(5).random())
print(torch.Generator().manual_seed(4).initial_seed(), torch.cuda.is_initialized())
"""
    command = script(tmp_path, text)
    run = collect(command, cwd=tmp_path)
    assert run.stdout == without_probe(command, cwd=tmp_path).stdout
    states = {(r.step, r.site): r.digest for r in run.main.of("rng") if not r.site.startswith("seed/")}
    assert sorted(states) == [(step, site) for step in range(4) for site in ("numpy", "random", "torch")]
    assert states[(0, "torch")] == states[(1, "torch")] != states[(2, "torch")] != states[(3, "torch")]
    sites = [site for site in run.main.sites("rng", 0) if site.startswith("seed/")]
    assert sites == ["seed/random.seed", "seed/numpy.random.seed", "seed/torch.manual_seed"]
    assert run.main.notes_of("unseeded-rng") == []
    assert run.main.facts["torch"]
    assert run.main.facts["flags"]["deterministic_algorithms"] is False


def test_the_code_stage_names_the_command_by_places(tmp_path: Path, data: Path) -> None:
    command = script(tmp_path, "pass")
    run = collect(
        [*command, "--data", str(data), f"--out={tmp_path}/o", "--lr", "1/2"], cwd=tmp_path, paths={"data": str(data)}
    )
    evidence = run.main.of("code")[0].evidence
    assert evidence == {
        "command": ["python", "{cwd}/train.py", "--data", "{data}", "--out={cwd}/o", "--lr", "{cwd}/1/2"]
    }
    assert sys.executable not in str(evidence)


def test_records_of_a_long_evaluation_go_out_within_its_step(tmp_path: Path) -> None:
    text = """
import os, signal, torch
model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU())
with torch.no_grad():
    for _ in range(5000):
        model(torch.ones(1, 2))
os.kill(os.getpid(), signal.SIGKILL)
"""
    run = collect(script(tmp_path, text), cwd=tmp_path)
    assert run.returncode == -signal.SIGKILL
    assert run.main.seal is None
    records = run.main.of("forward")
    assert len(records) > 10_000, "of 15,000; the rest waited for the step's end"
    assert [(r.site, r.occurrence) for r in records[:6]] == [
        (site, n) for n in (0, 1) for site in ("eval-root1/0", "eval-root1/1", "eval-root1")
    ]


def test_a_teacher_has_its_name_in_the_training_with_and_without_an_evaluation_before(tmp_path: Path) -> None:
    text = """
import os, torch
from torch.utils.data import DataLoader
torch.manual_seed(0)
loader = DataLoader(torch.arange(8.0).view(8, 1), batch_size=4)
teacher, student = torch.nn.Linear(1, 1), torch.nn.Sequential(torch.nn.Linear(1, 1))
optimizer = torch.optim.SGD(student.parameters(), lr=0.1)
if os.environ.get("FIRST"):
    student.eval()
    with torch.no_grad():
        for x in DataLoader(torch.zeros(4, 1), batch_size=4):
            student(x), teacher(x)
    student.train()
for x in loader:
    with torch.no_grad():
        wanted = teacher(x)
    loss = (student(x) - wanted).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
    command = script(tmp_path, text)
    sites = []
    for more in ({}, {"FIRST": "1"}):
        run = collect(command, cwd=tmp_path, env=more)
        assert run.returncode == 0, run.stderr
        records = [r for r in run.main.records if r.phase == "train"]
        sites.append([(r.stage, r.step, r.site) for r in records if r.stage in ("init", "forward", "update")])
    assert sites[0] == sites[1]
    assert {site for stage, _, site in sites[0] if stage == "init"} == {
        "root1/weight", "root1/bias", "root2/0.weight", "root2/0.bias",
    }  # fmt: skip
