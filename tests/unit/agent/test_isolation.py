"""Who a training runs as and what it may use: the catalog's words, and what they become."""

from __future__ import annotations

import os
import pwd
import tempfile
from pathlib import Path

import pytest
from detctl_agent.catalog.access import root_warning
from detctl_agent.catalog.admission import Order, admit
from detctl_agent.catalog.catalog import Catalog, parse
from detctl_agent.errors import CatalogError, RunRefusedError
from detctl_agent.launcher import container
from detctl_agent.launcher.account import Account, account_of
from detctl_agent.launcher.cgroup import Cgroups, own_cgroup
from detctl_agent.launcher.container import Container, Image
from detctl_agent.launcher.limits import PROCESSES_MAX, Limits
from detctl_agent.state.sockets import RuntimeFolder

RECIPE = {"command": ["python", "t.py"], "folder": "/r"}
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: only root starts trainings as another user")


def catalog(**given: object) -> Catalog:
    return parse(
        {"recipes": {"one": RECIPE, "two": {**RECIPE, "memory_mb_max": 512, "processes_max": 9}}, **given}, "c"
    )


@pytest.mark.parametrize("user", ["trainer", "ml.train-1", "DOMAIN_user@example.org", "1000", "1000:1001", 1000])
def test_a_user_is_a_name_or_numbers(user: object) -> None:
    assert catalog(user=user).user == str(user)
    assert catalog(environments={"e": {"user": user}}).environments["e"].user == str(user)


@pytest.mark.parametrize(
    "user",
    [
        "-u0",
        "a b",
        "a\n",
        "x:1",
        "1:x",
        "1:",
        "0x0",
        "+0",
        "-1",
        "٣",
        "4294967295",
        "1:4294967295",
        "99999999999",
        ["root"],
    ],
)
def test_what_is_no_user_is_refused_with_its_key(user: object) -> None:
    """4294967295 is -1 to the kernel, and means that a process stays who it is: root."""
    with pytest.raises(CatalogError, match=r"^c: user: "):
        catalog(user=user)


@pytest.mark.parametrize(
    ("key", "value"),
    [("memory_mb_max", 0), ("memory_mb_max", -1), ("memory_mb_max", float("nan")), ("memory_mb_max", float("inf")),
     ("memory_mb_max", "much"), ("processes_max", 0), ("processes_max", 1.5), ("processes_max", 10**9)],
)  # fmt: skip
def test_what_is_no_limit_is_refused_with_its_key(key: str, value: object) -> None:
    with pytest.raises(CatalogError, match=f"^c: {key}: "):
        catalog(**{key: value})


def test_the_environment_says_it_else_the_catalog() -> None:
    found = catalog(user="base", environments={"e": {"user": "own"}}, memory_mb_max=2048)
    assert admit(found, Order("r", 1, "one", "e")).user == "own"
    one, two = (admit(found, Order("r", 1, name)) for name in ("one", "two"))
    assert (one.user, one.limits) == ("base", Limits(2048, PROCESSES_MAX))
    assert two.limits.memory_description == "its memory limit of 512 MB (recipe two, memory_mb_max)"
    assert one.limits.memory_description == "its memory limit of 2048 MB (the catalog, memory_mb_max)"
    assert two.limits.processes_description == "its limit of 9 processes and threads (recipe two, processes_max)"
    assert admit(catalog(), Order("r", 1, "one")).limits.memory_bytes is None


def test_the_agents_own_user_is_nobody_else() -> None:
    assert account_of("") is None
    assert account_of(f"{os.geteuid()}:{os.getegid()}") is None
    assert account_of(pwd.getpwuid(os.geteuid()).pw_name) is None


@needs_root
def test_names_and_numbers_are_looked_up() -> None:
    nobody = pwd.getpwnam("nobody")
    assert account_of("nobody") == Account("nobody", nobody.pw_uid, nobody.pw_gid, (nobody.pw_gid,))
    assert account_of("54321") == Account("54321", 54321, 54321)
    assert account_of("54321:7") == Account("54321:7", 54321, 7)
    assert account_of(f"{nobody.pw_uid}:7") == Account(f"{nobody.pw_uid}:7", nobody.pw_uid, 7)


def test_only_root_becomes_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(
        RunRefusedError, match="only root starts trainings as another user, and the agent runs as uid 1000"
    ):
        account_of("54321")
    assert root_warning(catalog()) == ""


def test_root_is_warned_of_each_environment_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert "environment default, b run as root" in root_warning(catalog(environments={"a": {"user": "x"}, "b": {}}))
    assert root_warning(catalog(user="root")) == ""


def test_a_container_has_the_user_and_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container, "_rootless", lambda engine: False)
    image = Image("/usr/bin/docker", "i", "sha256:0", {})
    account = Account("trainer", 1001, 1002, (1002, 44))
    words = Container(image, "r.1", account=account, limits=Limits(100, 50)).command(["python"], Path("/"), {})
    assert {"--user=1001:1002", "--group-add=1002", "--group-add=44", "--pids-limit=50", "--ulimit=core=0"} <= set(
        words
    )
    assert {"--memory=104857600b", "--memory-swap=104857600b"} <= set(words)
    assert not [
        word for word in Container(image, "r.1", account=account).command(["x"], Path("/"), {}) if "--memory" in word
    ]
    monkeypatch.setattr(container, "_rootless", lambda engine: True)
    container._user.cache_clear()
    with pytest.raises(RunRefusedError, match="user trainer: docker runs without root here"):
        Container(image, "r.1", account=account).command(["python"], Path("/"), {})


def test_resources_where_there_is_no_cgroup() -> None:
    assert Limits(1, 5).resources(own_user=True) == {"CORE": 0, "DATA": 1 << 20, "NPROC": 5}
    assert Limits(None, 5).resources(own_user=False) == {"CORE": 0}, "processes of the agent's own user would count too"


@needs_root
def test_sockets_of_another_user_lie_where_it_comes_by(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(prefix="dc") as closed:  # short: a socket's path
        sockets_of_another_user(Path(closed), monkeypatch)


def sockets_of_another_user(closed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(closed))
    folder = RuntimeFolder(None, account=Account("x", 54321, 54321))
    try:
        assert not folder.path.is_relative_to(closed)
        assert folder.path.stat().st_mode & 0o777 == folder.path.parent.stat().st_mode & 0o777 == 0o711
        assert folder.path.stat().st_uid == 0
    finally:
        folder.remove()
    own = RuntimeFolder(None)
    try:
        assert own.path.is_relative_to(closed) and own.path.stat().st_mode & 0o777 == 0o700
    finally:
        own.remove()


def cgroup_files(folder: Path, procs: str | None, controllers: str = "cpu memory pids") -> Path:
    """A /proc/self whose cgroup is `folder`/base, with files as the kernel has them; procs None: the machine's root."""
    base = folder / "base"
    base.mkdir()
    (base / "cgroup.controllers").write_text(controllers)
    if procs is not None:
        (base / "cgroup.type").write_text("domain")
        (base / "cgroup.procs").write_text(procs)
    proc = folder / "self"
    proc.mkdir()
    (proc / "cgroup").write_text("4:memory:/old\n0::/x/base\n")
    (proc / "mountinfo").write_text(f"36 25 0:30 /x {folder} rw,nosuid shared:9 - cgroup2 cgroup2 rw\n")
    return proc


def test_an_agent_alone_in_its_cgroup_makes_one_for_each_run(tmp_path: Path) -> None:
    found = Cgroups(cgroup_files(tmp_path, f"{os.getpid()}\n"))
    base = tmp_path / "base"
    assert found.why == ""
    assert (base / "agent" / "cgroup.procs").read_text() == str(os.getpid())
    assert (base / "cgroup.subtree_control").read_text() == "+memory +pids"
    made = found.make("r1.1", Limits(64, 10))
    assert made is not None and made.folder == base / "run-r1.1"
    assert made.order == {
        "enter": f"{base}/run-r1.1/cgroup.procs", "leave": f"{base}/agent/cgroup.procs", "kill": f"{base}/run-r1.1/cgroup.kill",
    }  # fmt: skip
    read = {file.name: file.read_text() for file in made.folder.iterdir()}
    assert read == {"memory.max": str(64 << 20), "memory.oom.group": "1", "memory.swap.max": "0", "pids.max": "10"}
    unlimited = found.make("r2.1", Limits(None, 10))
    assert unlimited is not None and [file.name for file in unlimited.folder.iterdir()] == ["pids.max"]


@pytest.mark.parametrize(
    ("procs", "controllers", "why"),
    [
        ("1\n2\n", "memory pids", "start it as a service with Delegate=yes"),
        (None, "hugetlb", "has no controller memory and pids"),
    ],
)
def test_why_there_are_no_cgroups(tmp_path: Path, procs: str | None, controllers: str, why: str) -> None:
    found = Cgroups(cgroup_files(tmp_path, procs, controllers))
    assert why in found.why
    assert found.make("r1.1", Limits(64)) is None
    found.end("r1.1")


def test_a_machine_without_version_2(tmp_path: Path) -> None:
    (tmp_path / "cgroup").write_text("4:memory:/old\n")
    (tmp_path / "mountinfo").write_text("36 25 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n")
    assert own_cgroup(tmp_path / "cgroup", tmp_path / "mountinfo") is None
    assert "no cgroup of version 2" in Cgroups(tmp_path).why
