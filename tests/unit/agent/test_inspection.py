"""What the agent finds after a run in the files that it read: digests of data, and lines of source."""

from __future__ import annotations

import json
import os
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest
from detctl_agent.recording.observed import CODE, FILES, LISTING, Observed, OpenedFile, SourceFile
from detctl_agent.recording.records import Identity, Record
from detctl_agent.runs.inspection import inspect
from detctl_agent.runs.inspection.digest_table import DigestTable, FileState
from detctl_agent.runs.inspection.inspect import resolver
from detctl_agent.runs.inspection.named_files import named_files
from detctl_agent.runs.inspection.opened_section import opened_section
from detctl_agent.runs.inspection.source_section import source_section
from detctl_agent.runs.launch_plan import LaunchPlan
from detctl_agent.runs.outcome import Outcome
from detctl_agent.runs.preparation import Prepared


def digest(content: bytes) -> str:
    return blake2b(content, digest_size=16).hexdigest()


def record(stage: int, evidence: Any, dtype: str = "", site: str = "main") -> Record:
    raw = evidence if isinstance(evidence, bytes) else json.dumps(evidence).encode()
    return Record(0, stage, 0, 0, 0, 0, b"", Identity(site, dtype, (), b"", b""), b"d" * 16, None, None, raw, None)


def opened_file(path: Path) -> OpenedFile:
    found = path.stat()
    return OpenedFile(found.st_size, found.st_mtime_ns)


def test_what_is_collected_from_frames() -> None:
    seen = Observed()
    seen.add(record(FILES, {"file": "{data}/a", "bytes": 3, "mtime_ns": 5}))
    seen.add(record(FILES, {"file": "{data}/a", "bytes": 3}))  # opened again
    seen.add(record(FILES, {"file": "{data}/b", "bytes": "3", "mtime_ns": 5}))
    seen.add(record(CODE, {"path": "/w/train.py"}, "py:source", "{cwd}/train.py"))
    seen.add(record(CODE, {"command": ["python"]}, "py:command", "command"))
    seen.add(record(LISTING, {"file": "{cwd}/train.py", "line": 7}))
    for odd in (b"[", b"[1]", b"{}", b"\xff", b"{" * 20_000):
        seen.add(record(LISTING, odd))
    seen.place({"caller": {"file": "{cwd}/net.py", "line": 3}})
    seen.place({"file": 3, "line": "x"})
    assert seen.files == {"{data}/a": OpenedFile(3, 5)}
    assert seen.sources == {"{cwd}/train.py": SourceFile("/w/train.py", b"d" * 16)}
    assert list(seen.lines) == [("{cwd}/train.py", 7), ("{cwd}/net.py", 3)]


def test_files_get_digests_and_twins_pay_once(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "a").write_bytes(b"abc")
    (data / "b").write_bytes(b"xyz")
    seen = Observed(files={f"{{data}}/{name}": opened_file(data / name) for name in ("a", "b")})
    (data / "b").write_bytes(b"changed since")
    seen.files["{data}/gone"] = OpenedFile(1, 1)
    table = DigestTable(tmp_path / "table.json")
    places = {"data": str(data)}
    section = opened_section(seen, resolver(places), places, table)
    assert section["files"]["{data}/a"] == {"bytes": 3, "digest": digest(b"abc")}
    assert "digest" not in section["files"]["{data}/b"] and section["unmeasured"] == {"changed": 2}
    assert section["paths"] == places
    # The content is not read again: only the table could still know it.
    again = DigestTable(tmp_path / "table.json")
    found = (data / "a").stat()
    assert again.get(FileState(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)) == digest(b"abc")


def test_limits_leave_files_without_a_digest(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    seen = Observed(files={"{d}/a": opened_file(tmp_path / "a")}, left_out=2)
    times = iter([0.0, *[100.0] * 9])
    section = opened_section(seen, resolver({"d": str(tmp_path)}), {}, DigestTable(None), clock=lambda: next(times))
    assert section["unmeasured"] == {"time": 1, "count": 2}
    forbidden = opened_section(seen, resolver({"d": str(tmp_path)}), {}, DigestTable(None), may_read=lambda _: False)
    assert forbidden["unmeasured"] == {"unreadable": 1, "count": 2}


def test_a_pipe_or_a_damaged_table_is_no_trouble(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    found = (tmp_path / "pipe").stat()
    seen = Observed(files={"{d}/pipe": OpenedFile(found.st_size, found.st_mtime_ns)})
    (tmp_path / "table").write_text("[1, 2")
    section = opened_section(seen, resolver({"d": str(tmp_path)}), {}, DigestTable(tmp_path / "table"))
    assert section["unmeasured"] == {"unreadable": 1}


def test_names_stay_inside_their_place(tmp_path: Path) -> None:
    resolve = resolver({"data": str(tmp_path)})
    assert resolve("{data}/a/b") == tmp_path / "a" / "b" and resolve("{data}") == tmp_path
    for name in ("{data}/../x", "{other}/a", "/etc/passwd", "{data}/a\0", "plain"):
        assert resolve(name) is None
    assert resolver({}, absolute=True)("/w/net.py") == Path("/w/net.py")


SCRIPT = """import os, glob
os.environ["PYTHONHASHSEED"] = "0"
torch.manual_seed(1)
def load(d):
    return glob.glob(d)
tags = set(words)
ids = {t: i for i, t in enumerate(tags)}
x = torch.tensor([ids[w] for w in words])
unsafe = os.listdir("https://user:hunter2@example.org/")
"""


def test_lines_of_the_source_with_their_fixes(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    source = SourceFile(str(script), blake2b(SCRIPT.encode(), digest_size=16).digest())
    lines = {("{cwd}/train.py", line): None for line in (5, 9, 77)}
    seen = Observed(sources={"{cwd}/train.py": source}, lines=lines)
    section = source_section(seen, resolver({"cwd": str(tmp_path)}))
    five, nine = section["lines"]
    assert five["text"] == ["    return glob.glob(d)"]
    assert five["fixes"]["filesystem-order"]["new"] == ["    return sorted(glob.glob(d))"]
    assert "hunter2" not in json.dumps(section) and nine["fixes"] == {}
    (order,) = section["orders"]
    assert (order["line"], order["made_line"], order["reaches"]) == (7, 6, ["data"])
    assert order["fix"]["expression"] == "sorted(tags)"
    assert section["calls"] == ["torch.manual_seed"] and section["hash_seed_set"]["line"] == 2


def test_a_source_that_was_edited_since_is_not_used(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    seen = Observed(
        sources={"{cwd}/train.py": SourceFile(str(script), b"other content...")}, lines={("{cwd}/train.py", 5): None}
    )
    assert source_section(seen, resolver({"cwd": str(tmp_path)})) == {}


def test_listed_folders_whose_files_nobody_was_seen_to_open(tmp_path: Path) -> None:
    for name in ("seen/a", "native/a", "native/b"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    started = max((tmp_path / "native" / name).stat().st_mtime_ns for name in "ab") + 1
    (tmp_path / "native" / "later").write_bytes(b"written by the run")
    os.utime(tmp_path / "native" / "later", ns=(started, started))
    seen = Observed(
        files={"{d}/seen/a": opened_file(tmp_path / "seen" / "a")}, folders={"{d}/seen": None, "{d}/native": None}
    )
    section = opened_section(seen, resolver({"d": str(tmp_path)}), {}, DigestTable(None), started_ns=started)
    listed = {name for name, row in section["files"].items() if row.get("listed")}
    assert listed == {"{d}/native/a", "{d}/native/b"} and "{d}/seen/a" in section["files"]


NAMING = """import os
WEIGHTS = "hub/base/w.safetensors"
data = read(os.path.join("corpus", "train.arrow"))
logs, outside, missing = "logs", "../secret", "hub/none"
"""


def test_files_that_source_or_command_name_and_nobody_was_seen_to_open(tmp_path: Path) -> None:
    work, models = tmp_path / "work", tmp_path / "models"
    names = (
        "hub/base/w.safetensors",
        "hub/base/x",
        "corpus/train.arrow",
        "corpus/seen",
        "corpus/a.py",
        "logs/old",
        "logs/new",
    )
    for path in (
        *(work / name for name in names),
        work / "v.h5",
        work / "other",
        models / "m.bin",
        tmp_path / "secret",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(path.name.encode())
    started = max(path.stat().st_mtime_ns for path in tmp_path.rglob("*")) + 1
    os.utime(work / "logs" / "new", ns=(started, started))
    seen = Observed(files={"{cwd}/corpus/seen": opened_file(work / "corpus" / "seen")})
    places = {"cwd": str(work), "arg1": str(models), "data": str(tmp_path)}
    found = named_files(seen, {"{cwd}/t.py": NAMING, "{cwd}/bad.py": "("}, ["t.py", "--val=v.h5"], places, started)
    assert {name: one.named.get("line") for name, one in found.items()} == {
        "{cwd}/hub/base/w.safetensors": 2,
        "{cwd}/corpus/train.arrow": 3,
        "{cwd}/v.h5": None,
        "{arg1}/m.bin": None,
    }
    (work / "v.h5").write_bytes(b"changed since")
    section = opened_section(seen, resolver(places), {}, DigestTable(None), started_ns=started, named=found)
    assert section["files"]["{cwd}/hub/base/w.safetensors"] == {
        "bytes": 13,
        "digest": digest(b"w.safetensors"),
        "named": {"file": "{cwd}/t.py", "line": 2},
    }
    assert "named" not in section["files"]["{cwd}/corpus/seen"]
    assert "{cwd}/v.h5" not in section["files"] and section["unmeasured"] == {}
    late = named_files(seen, {"{cwd}/t.py": NAMING}, [], places, started, clock=iter([0.0, *[9.0] * 99]).__next__)
    assert "{arg1}/m.bin" not in late


def test_a_file_that_is_held_open_counts_as_opened() -> None:
    seen = Observed()
    seen.place({"kind": "file-held", "file": "{data}/x.h5", "bytes": 4, "mtime_ns": 9})
    assert seen.files == {"{data}/x.h5": OpenedFile(4, 9)} and not seen.lines


def test_files_outside_of_the_places_are_compared_where_they_may_be_read(tmp_path: Path) -> None:
    seen, path = Observed(), tmp_path / "glove.npy"
    path.write_bytes(b"abc")
    file = opened_file(path)
    facts = {"bytes": file.bytes, "mtime_ns": file.mtime_ns, "path": str(path)}
    seen.place({"kind": "file-held", "file": "~/glove.npy", **facts})
    seen.place({"kind": "file-held", "file": "{data}/x", **facts})  # its place says where it is
    assert [one.path for one in seen.files.values()] == [str(path), ""]
    late = file.mtime_ns + 1

    def files(started_ns: int, *, elsewhere: bool) -> dict[str, Any]:
        table = DigestTable(None)
        section = opened_section(seen, resolver({}), {}, table, started_ns=started_ns, elsewhere=elsewhere)
        return dict(section["files"])

    assert files(late, elsewhere=True)["~/glove.npy"] == {"bytes": 3, "digest": digest(b"abc")}
    assert "~/glove.npy" not in files(late, elsewhere=False)
    assert "~/glove.npy" not in files(file.mtime_ns, elsewhere=True)  # the run wrote it


def test_a_recording_is_not_lost_for_its_inspection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> dict[str, Any]:
        raise RecursionError("odd source")

    monkeypatch.setattr(inspect, "source_section", fails)
    (tmp_path / "a").write_bytes(b"abc")
    outcome = Outcome(end="exit", exit_code=0, observed=Observed(files={"{data}/a": opened_file(tmp_path / "a")}))
    plan = LaunchPlan("r", 1, ("python",), tmp_path, {})
    prepared = Prepared(plan, {}, None, None, {"data": str(tmp_path)})  # type: ignore[arg-type]  # not used here
    found = inspect.with_inspection({"machine": {}}, outcome, prepared, DigestTable(None))
    assert set(found) == {"machine", "opened"}
