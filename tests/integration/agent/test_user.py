"""Trainings as another user than the agent: what they have, and what they cannot reach. Needs root.

Runs are called u1 here: an agent that is root ends what it finds of a run, whoever's it is.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from detctl_proto.v1 import agents_pb2

from tests.support import opened

REFUSED = agents_pb2.RUN_PHASE_REFUSED
WHY_NOT = opened.why_not()
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)
NOBODY = 65534
NAMELESS = 54321  # no user has this number

# What a training that means harm tries: "done", or the error's name.
SPY = """
import ctypes, errno, json, os, pathlib, signal, socket, sys
fds = sorted(int(name) for name in os.listdir("/proc/self/fd"))[:-1]  # the last one lists them
agent = next(int(entry.name) for entry in pathlib.Path("/proc").iterdir()
             if entry.name.isdigit() and b"detctl_agent.main" in (entry / "cmdline").read_bytes().split(b"\\0"))
shim, run = os.getppid(), pathlib.Path(os.environ["HOME"]).parent
token, state, other = map(pathlib.Path, sys.argv[1:4])
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long] * 4

def tried(what):
    try:
        what()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"

def trace(pid):
    if libc.ptrace(16, pid, 0, 0) < 0:  # PTRACE_ATTACH
        raise OSError(ctypes.get_errno(), "")
    os.waitpid(pid, 0x40000000)  # __WALL
    libc.ptrace(17, pid, 0, 0)  # PTRACE_DETACH: the test goes on where this should not have worked

def connect(place):
    with socket.socket(socket.AF_UNIX) as made:
        made.connect(place)

found = {"file": tried(token.read_bytes), "signal": tried(lambda: os.kill(agent, 0)), "signal_shim": tried(lambda: os.kill(shim, 0))}
for name, pid in (("agent", agent), ("shim", shim)):
    for what in ("environ", "maps", "mem"):
        found[f"{what}_{name}"] = tried(lambda: open(f"/proc/{pid}/{what}", "rb").close())
    for what in ("fd", "root", "cwd"):
        found[f"{what}_{name}"] = tried(lambda: os.listdir(f"/proc/{pid}/{what}"))
    found[f"trace_{name}"] = tried(lambda: trace(pid))
for place in ("spool/log", "run.json", "manifest.json", "stdout", "stderr"):
    found[place] = tried((run / place).read_bytes)
for place in (state, state / "runs", run, run / "spool", other, other / "out"):
    found[f"list {place.relative_to(state.parent)}"] = tried(lambda: os.listdir(place))
for place in (run, run / "probe", run / "probe" / "detctl_probe", state, pathlib.Path(os.environ["TMPDIR"]).parent):
    found[f"write {place.name}"] = tried(lambda: (place / "mine").write_text("x"))
own = {name: tried(lambda: (run / name / "mine").write_text("x")) for name in ("work", "home", "tmp", "out", "cache")}
own["stdout"] = tried(lambda: open("/dev/stdout", "w").close())
own["TMPDIR"] = tried(lambda: (pathlib.Path(os.environ["TMPDIR"]) / "mine").read_text())
own["socket"] = tried(lambda: connect(json.loads(os.environ["DETCTL_PROBE"])["socket"]))
import resource
status = dict(line.split(":", 1) for line in pathlib.Path("/proc/self/status").read_text().splitlines())
print("SPY " + json.dumps({
    "found": found, "own": own, "fds": fds, "uids": list(os.getresuid()), "gids": list(os.getresgid()), "groups": os.getgroups(),
    "caps": [int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")], "new_privs": status["NoNewPrivs"].strip(),
    "core": resource.getrlimit(resource.RLIMIT_CORE), "processes": resource.getrlimit(resource.RLIMIT_NPROC)[0],
    "modes": {name: (run / name).stat().st_mode & 0o777 for name in ("probe", "work", "out")},
}), flush=True)
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that every user may pass through; pytest's own are root's alone."""
    folder = Path(tempfile.mkdtemp(prefix="detctl-user-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def start(place: Path, served: Any, tools: Any) -> Iterator[Callable[..., Any]]:
    """Starts an agent whose trainings can reach the interpreter of the tests."""
    started = []

    def start(*arguments: str, user: str = "", more: str = "", within: tuple[str, ...] = (), **recipe: Any) -> Any:
        write_catalog(place, tools, user, more, recipe)
        started.append(
            tools.AgentProcess(place, served.address, *arguments, within=[*opened.opened(), *within])
        )  # fmt: skip
        return started[-1]

    yield start
    for one in started:
        one.close()
    for folder in (place / "state" / "runs").glob("*"):
        assert tools.pids_of_run(folder.name) == []


def write_catalog(place: Path, tools: Any, user: str, more: str = "", recipe: dict[str, Any] | None = None) -> Path:
    """The catalog of conftest.py and a recipe `spy`; what stands in `more` before a first table is for the whole catalog."""
    path: Path = tools.write_catalog(place, recipe)
    (place / "source" / "spy.py").write_text(SPY)
    words = ["python", "spy.py", str(place / "token"), str(place / "state"), str(place / "state" / "runs" / "u0.1")]
    spy = f'[recipes.spy]\ncommand = {json.dumps(words)}\nfolder = "{place / "source"}"\n'
    path.write_text((f'user = "{user}"\n' if user else "") + path.read_text() + spy + more)
    return path


def token_of(place: Path, uid: int = 0) -> Path:
    token = place / "token"
    token.write_text("tok-of-the-agent\n")
    token.chmod(0o600)
    os.chown(token, uid, uid)
    return token


async def spied(served: Any, run_id: str = "u1", **order: Any) -> dict[str, Any]:
    served.coordinator.assign(run_id, recipe="spy", step_to=0, **order)
    end = await served.coordinator.ended(run_id)
    line = next((line for line in end.output_tail.splitlines() if line.startswith("SPY ")), None)
    assert line, end.output_tail + end.message
    found: dict[str, Any] = json.loads(line[4:])
    return found


@pytest.mark.parametrize(
    ("user", "uid"), [("nobody", NOBODY), (str(NAMELESS), NAMELESS), (f"{NAMELESS}:{NAMELESS + 1}", NAMELESS)]
)
async def test_a_training_reaches_what_is_its_own_and_nothing_of_the_agent(
    place: Path, served: Any, start: Any, user: str, uid: int
) -> None:
    start("--token-file", str(token_of(place)), user=user)
    served.coordinator.note = False  # so that the folder of the run before stays as it was left
    served.coordinator.assign("u0", step_to=2)
    await served.coordinator.ended("u0")
    assert (place / "state" / "runs" / "u0.1" / "spool" / "log").exists()
    spy = await spied(served)
    open_ = {name: answer for name, answer in spy["found"].items() if answer not in ("EACCES", "EPERM")}
    assert open_ == {}
    assert set(spy["own"].values()) == {"done"}, spy["own"]
    assert spy["fds"] == [0, 1, 2]
    gid = NAMELESS + 1 if ":" in user else pwd.getpwuid(uid).pw_gid if user == "nobody" else uid
    assert (spy["uids"], spy["gids"]) == ([uid] * 3, [gid] * 3)
    assert set(spy["groups"]) <= {gid}
    assert (spy["caps"], spy["new_privs"]) == ([0, 0, 0, 0], "1")
    assert (spy["core"], spy["modes"]) == ([0, 0], {"probe": 0o755, "work": 0o700, "out": 0o700})


@pytest.mark.parametrize("user", ["nobody", str(NAMELESS)])
async def test_runs_of_another_user_are_recorded_whole_and_alike(
    place: Path, served: Any, start: Any, tools: Any, user: str
) -> None:
    agent = start(user=user)
    arrived = []
    for run in ("u1", "u2"):
        served.coordinator.assign(run, step_to=4)
        end = await served.coordinator.ended(run)
        assert (end.end, end.ranks, end.message) == ("window", 1, ""), end.output_tail + agent.log
        seal = served.coordinator.seals[run, 1, 0]
        assert seal.complete
        arrived.append((served.coordinator.records(run), sorted(stream.chain for stream in seal.streams)))
        assert json.loads(end.manifest_json)["environment"]["user"] == user
        assert json.loads(end.manifest_json)["python"]["packages"]["grpcio"], "asked as that user"
    assert arrived[0] == arrived[1]
    agent.close()
    left = place / "state" / "runs" / "u1.1"
    assert sorted(entry.name for entry in left.iterdir()) == ["manifest.json", "run.json", "stderr", "stdout"]
    assert all(entry.stat().st_uid == 0 for entry in left.iterdir())


async def test_nothing_of_an_environment_runs_as_the_agent(place: Path, served: Any, start: Any) -> None:
    """Its user may own it: whatever it is asked before a training (facts, known answers), it answers as that user."""
    ran, program = place / "ran", place / "python"
    ran.touch()
    ran.chmod(0o666)
    program.write_text(f'#!/bin/sh\nid -u >> {ran}\nexec {sys.executable} "$@"\n')
    program.chmod(0o755)
    os.chown(program, NOBODY, NOBODY)
    start(user="nobody", more=f'[environments.own]\npython = "{program}"\n')
    served.coordinator.assign("u1", environment="own", step_to=2, known_answers=True)
    end = await served.coordinator.ended("u1")
    assert end.end == "window", end.output_tail
    manifest = json.loads(end.manifest_json)
    assert manifest["known_answers"]["class"] and manifest["python"]["version"], (
        str(manifest["known_answers"]) + str(manifest["python"])[:300] + ran.read_text()
    )
    lines = ran.read_text().splitlines()
    assert [line.split()[0] for line in lines] == [str(NOBODY)] * 3, lines


async def test_a_tree_of_another_user_is_ended_to_its_last_process(
    place: Path, served: Any, start: Any, tools: Any
) -> None:
    start(user="nobody")
    served.coordinator.assign("u1", parameters={"then": "daemon"}, step_to=0)
    await served.coordinator.until(lambda: served.coordinator.state(agents_pb2.RUN_PHASE_RUNNING, "u1"))
    await served.coordinator.until(lambda: served.coordinator.segments)
    served.coordinator.stop(run_id="u1", attempt=1, now=True, reason="enough")
    assert (await served.coordinator.ended("u1")).end == "cancelled"
    assert tools.pids_of_run("u1.1") == []


async def test_what_a_killed_agent_left_of_another_user_is_ended(
    place: Path, served: Any, start: Any, tools: Any
) -> None:
    agent = start(user="nobody")
    served.coordinator.assign("u1", parameters={"then": "stubborn"}, step_to=0)
    await served.coordinator.until(lambda: served.coordinator.segments)
    (training,) = [pid for pid in tools.pids_of_run("u1.1") if os.stat(f"/proc/{pid}").st_uid == NOBODY]
    shim = int(Path(f"/proc/{training}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(shim, 9)  # nobody is left that knows the training as its own
    await tools.gone([training])
    agent.kill()


async def test_an_agent_that_is_no_root_is_closed_to_its_trainings(place: Path, served: Any, start: Any) -> None:
    """They can read those of its files that it can read (docs/security.md 6)."""
    token = token_of(place, NOBODY)
    os.chown(place, NOBODY, NOBODY)
    os.chown(served.path, NOBODY, NOBODY)
    os.chmod(served.path.parent, 0o755)
    drop = ("setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups")
    start("--token-file", str(token), within=drop)
    os.chown(place / "catalog.toml", NOBODY, NOBODY)
    spy = await spied(served)
    found = spy["found"]
    closed = {
        name: answer for name, answer in found.items() if name.endswith(("_agent", "_shim")) and "signal" not in name
    }
    assert len(closed) == 14
    assert set(closed.values()) <= {"EACCES", "EPERM"}, closed
    assert spy["fds"] == [0, 1, 2]
    assert spy["uids"] == [NOBODY] * 3


async def test_a_user_that_cannot_run_the_interpreter_is_told_why(place: Path, served: Any, start: Any) -> None:
    closed = place / "closed"
    (closed / "bin").mkdir(parents=True)
    (closed / "bin" / "python").symlink_to(sys.executable)
    closed.chmod(0o700)
    start(user="nobody", more=f'[environments.hidden]\npython = "{closed}/bin/python"\n')
    served.coordinator.assign("u1", environment="hidden")
    state = await served.coordinator.until(lambda: served.coordinator.state(REFUSED, "u1"))
    assert state.message.startswith(
        f"user nobody cannot run {closed}/bin/python: {closed} is closed to this user (mode 0700, owner root): put "
    )
    assert "\n" not in state.message


async def test_an_interpreter_whose_library_is_closed_is_told(place: Path, served: Any, start: Any) -> None:
    program = place / "python"
    program.write_text("#!/bin/sh\necho 'Fatal Python error: No module named encodings' >&2\nexit 1\n")
    program.chmod(0o755)
    start(user="nobody", more=f'[environments.broken]\npython = "{program}"\n')
    served.coordinator.assign("u1", environment="broken")
    state = await served.coordinator.until(lambda: served.coordinator.state(REFUSED, "u1"))
    assert f"user nobody cannot run {program}: Fatal Python error: No module named encodings" in state.message


async def test_data_that_a_user_cannot_read_is_named(place: Path, served: Any, start: Any) -> None:
    data = place / "data"
    data.mkdir(mode=0o700)
    more = (
        '[recipes.reader]\ncommand = ["python", "emit.py", "{data}"]\npaths = ["data"]\n'
        f'folder = "{place}/source"\nparameters = {{ data = "{data}" }}\n'
    )
    start(user="nobody", more=more)
    served.coordinator.assign("u1", recipe="reader")
    state = await served.coordinator.until(lambda: served.coordinator.state(REFUSED, "u1"))
    assert (
        state.message
        == f"user nobody cannot read the parameter data, {data}: this user may not read it (mode 0700, owner root)"
    )


async def test_a_state_folder_that_a_user_cannot_reach_is_named(place: Path, served: Any, start: Any) -> None:
    hidden = place / "hidden"
    hidden.mkdir(mode=0o700)
    start("--state", str(hidden / "state"), user="nobody")
    served.coordinator.assign("u1")
    state = await served.coordinator.until(lambda: served.coordinator.state(REFUSED, "u1"))
    assert f"{hidden} is closed to this user (mode 0700, owner root): give the agent a folder" in state.message


async def test_a_recipe_folder_that_the_training_may_write_is_refused(place: Path, served: Any, start: Any) -> None:
    """The agent, which is root, runs git in there: its configuration could name programs."""
    start(user="nobody")
    await served.coordinator.until(lambda: served.coordinator.hellos)
    os.chown(place / "source", NOBODY, -1)
    served.coordinator.assign("u1")
    state = await served.coordinator.until(lambda: served.coordinator.state(REFUSED, "u1"))
    assert f"user nobody may write to {place}/source" in state.message


@pytest.mark.parametrize(
    ("user", "why"),
    [
        ("no-such-user", "user = 'no-such-user': this machine has no such user: useradd --system no-such-user"),
        ("nobody", "only root starts trainings as another user, and the agent runs as uid 54321"),
    ],
)
async def test_a_user_that_the_agent_cannot_become_is_refused(
    place: Path, served: Any, start: Any, user: str, why: str
) -> None:
    drop: tuple[str, ...] = ()
    if user == "nobody":
        for folder in (place, served.path, served.path.parent):
            os.chown(folder, NAMELESS, NAMELESS)
        drop = ("setpriv", "--reuid", str(NAMELESS), "--regid", str(NAMELESS), "--clear-groups")
    start(user=user, within=drop)
    os.chown(place / "catalog.toml", NAMELESS if drop else 0, 0)
    served.coordinator.assign("u1")
    state = await served.coordinator.until(lambda: served.coordinator.state(REFUSED, "u1"))
    assert why in state.message


async def test_root_without_a_word_is_warned_and_with_one_is_not(place: Path, served: Any, start: Any) -> None:
    silent = start()
    await served.coordinator.until(lambda: served.coordinator.hellos)
    assert 'trainings_run_as_root why="trainings of environment default run as root' in silent.log
    silent.close()
    hellos = len(served.coordinator.hellos)
    silent.log_path.unlink()
    meant = start(user="root")
    await served.coordinator.until(lambda: len(served.coordinator.hellos) > hellos)
    assert "trainings_run_as_root" not in meant.log
    served.coordinator.assign("u1")
    assert (await served.coordinator.ended("u1")).end == "window"


async def test_memory_and_processes_of_a_training_are_limited(place: Path, served: Any, start: Any) -> None:
    hungry = "held = []\nwhile True: held.append(bytearray(8 << 20))"
    forks = (
        "import os, time\nn = 0\ntry:\n while n < 200:\n  if os.fork() == 0: time.sleep(600)\n  n += 1\n"
        "except OSError as error: raise SystemExit(str(n) + ' ' + str(error))"
    )
    folder = place / "source"
    more = (
        f'[recipes.hungry]\ncommand = ["python", "-c", {json.dumps(hungry)}]\nfolder = "{folder}"\nmemory_mb_max = 256\n'
        f'[recipes.forks]\ncommand = ["python", "-c", {json.dumps(forks)}]\nfolder = "{folder}"\nprocesses_max = 20\n'
    )
    start(user=str(NAMELESS), more=more)
    served.coordinator.assign("u1", recipe="hungry", step_to=0)
    end = await served.coordinator.ended("u1")
    assert end.exit_code not in (0, 127)
    assert "its memory limit of 256 MB (recipe hungry, memory_mb_max)" in end.message, end.output_tail
    served.coordinator.assign("u2", recipe="forks", step_to=0)
    end = await served.coordinator.ended("u2")
    assert end.exit_code == 1 and "Resource temporarily unavailable" in end.output_tail, end.output_tail
    assert int(end.output_tail.split("--- stderr ---\n")[1].split()[0]) < 20


def test_a_check_of_the_catalog_says_what_a_user_cannot_reach(place: Path, tools: Any) -> None:
    from click.testing import CliRunner
    from detctl_agent.commands.check import check
    from detctl_agent.errors import CatalogError

    closed = place / "closed"
    closed.mkdir(mode=0o700)
    path = write_catalog(place, tools, "nobody", f'[environments.default]\npython = "{closed}/python"\n')
    (closed / "python").symlink_to("/bin/true")
    done = CliRunner().invoke(check, ["--catalog", str(path)])
    assert isinstance(done.exception, CatalogError)
    assert (
        f"environments.default.python: user nobody cannot use {closed}/python: {closed} is closed to this user"
        in str(done.exception)
    )
    path = write_catalog(place, tools, "", '[environments.default]\npython = "/bin/true"\n')
    done = CliRunner().invoke(check, ["--catalog", str(path)])
    assert 'write user = "NAME" at the top of the catalog, or user = "root"' in done.output
    assert done.exit_code == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
