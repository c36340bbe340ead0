"""Which places a request may name: those below the owner's roots, and nothing that is the agent's own. Real files and links."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from detctl_agent.catalog.admission import Admitted, Order, admit
from detctl_agent.catalog.catalog import Catalog, load, parse
from detctl_agent.catalog.places import Private, check_unchanged, resolved
from detctl_agent.catalog.roots import root_problem
from detctl_agent.commands.check import check
from detctl_agent.errors import CatalogError, RunRefusedError
from detctl_agent.launcher.container import Container, Image
from detctl_agent.runs import preparation, recipe_training
from detctl_agent.runs.start import Start
from detctl_agent.source.run_source import RunSource
from detctl_agent.source.source import scan
from detctl_agent.state.run_folder import RunFolder
from detctl_agent.state.sockets import RuntimeFolder


class Site:
    """A machine: data that the owner gives, the agent's state and credentials, and somebody's secret."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("own", "sets/one/deep", "sets/two", "agent/state/runs", "agent/tls", "secret", "recipe", "open"):
            (folder / name).mkdir(parents=True)
        (folder / "agent/tls/tls.key").write_text("PRIVATE KEY")
        (folder / "agent/tls/token").write_text("dct_secret")
        (folder / "secret/file").write_text("secret")
        (folder / "sets/two/plain.bin").write_text("data")
        (folder / "recipe/train.py").write_text("print(1)")
        self.sets, self.own = folder / "sets", folder / "own"

    @property
    def private(self) -> Private:
        return Private.of_agent(
            self.folder / "agent/catalog.toml", self.folder / "agent/state", self.folder / "agent/tls"
        )

    def catalog(self, *roots: Path | str, own: Path | None = None, **recipe: Any) -> Catalog:
        table = {
            "command": ["python", "train.py", "--data", "{data}", "{note}"], "folder": str(self.folder / "recipe"),
            "paths": ["data"], "parameters": {"data": str(own or self.own), "note": ""}, "roots": {"data": list(map(str, roots))},
            **recipe,
        }  # fmt: skip
        return parse({"recipes": {"digits": table}, "environments": {"box": {"image": "train:1"}}}, "catalog.toml")

    def admitted(self, value: Path | str, *roots: Path | str, environment: str = "default", **recipe: Any) -> Admitted:
        order = Order("r1", 1, "digits", environment, parameters={"data": str(value)})
        return admit(self.catalog(*roots, **recipe), order)

    def place(self, value: Path | str, *roots: Path | str, environment: str = "default", **recipe: Any) -> str:
        """The place as its training is given it. Raises RunRefusedError."""
        return resolved(self.admitted(value, *roots, environment=environment, **recipe), self.private)["data"]

    def refused(self, value: Path | str, *roots: Path | str, environment: str = "default", **recipe: Any) -> str:
        with pytest.raises(RunRefusedError) as caught:
            self.place(value, *roots, environment=environment, **recipe)
        said = str(caught.value)
        assert "\n" not in said
        assert said.startswith("recipe digits: parameter data: ")
        assert repr(str(value))[:64] in said
        return said


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / "user" / name.lower()))
    return Site(tmp_path)


KINDS = pytest.mark.parametrize("environment", ["default", "box"])


@KINDS
@pytest.mark.parametrize("value", ["/etc", "/etc/passwd", "/", "/var/run/docker.sock", "/root/.ssh", "/data/x"])
def test_without_roots_only_the_owners_own_value_is_taken(site: Site, environment: str, value: str) -> None:
    """The first sample of issue 5: any absolute path became a mount, or a word of the command."""
    order = Order("r1", 1, "digits", environment, parameters={"data": value})
    catalog = {
        "recipes": {"digits": {"command": ["python", "{data}"], "folder": "/srv", "paths": ["data"], "parameters": {"data": "/d"}}},
        "environments": {"box": {"image": "train:1"}},
    }  # fmt: skip
    with pytest.raises(RunRefusedError) as caught:
        admit(parse(catalog, "catalog.toml"), order)
    assert f"parameter data: {value!r}" in str(caught.value)
    assert "allowed: its own /d" in str(caught.value)
    assert "roots.data of the recipe in the catalog" in str(caught.value)
    own = Order("r1", 1, "digits", environment, parameters={"data": "/d"})
    assert admit(parse(catalog, "catalog.toml"), own).parameters == {"data": "/d"}


@KINDS
def test_what_lies_below_a_root_is_taken(site: Site, environment: str) -> None:
    for value in (site.sets, site.sets / "one", site.sets / "one/deep", site.sets / "two/plain.bin"):
        assert site.place(value, site.folder / "absent", site.sets, environment=environment) == str(value)
    assert site.place(site.own, environment=environment) == str(site.own)


@KINDS
def test_a_path_with_dots_is_refused_wherever_it_leads(site: Site, environment: str) -> None:
    for value in (f"{site.sets}/../secret", f"{site.sets}/one/../two", f"{site.sets}/one/.."):
        assert "holds '..'" in site.refused(value, site.sets, environment=environment)


@KINDS
def test_a_link_is_followed_and_the_training_gets_where_it_leads(site: Site, environment: str) -> None:
    (site.sets / "newest").symlink_to("two")
    (site.folder / "alias").symlink_to("sets")
    assert site.place(site.sets / "newest", site.sets, environment=environment) == str(site.sets / "two")
    assert site.place(site.folder / "alias/one", site.folder / "alias", environment=environment) == str(
        site.sets / "one"
    )
    assert site.place(site.sets / "one", site.folder / "alias", environment=environment) == str(site.sets / "one")


@KINDS
@pytest.mark.parametrize("link", ["one/out", "out"])
def test_a_link_that_leads_out_is_refused(site: Site, environment: str, link: str) -> None:
    (site.sets / link).symlink_to(site.folder / "secret")
    for value in (site.sets / link, site.sets / link / "file"):
        said = site.refused(value, site.sets, environment=environment)
        assert "leads out of what this machine's owner allows" in said
        assert str(site.folder / "secret") not in said, "where a link leads is not the submitter's to know"
    (site.sets / "across").symlink_to(site.folder / "open")
    allowed = (site.sets, site.folder / "open")
    assert site.place(site.sets / "across", *allowed, environment=environment) == str(site.folder / "open")


@KINDS
def test_links_in_a_circle_and_what_is_not_there_are_refused(site: Site, environment: str) -> None:
    (site.sets / "a").symlink_to("b")
    (site.sets / "b").symlink_to("a")
    for name in ("a", "nowhere"):
        assert "cannot be used" in site.refused(site.sets / name, site.sets, environment=environment)


@pytest.fixture
def odd(site: Site) -> Iterator[Site]:
    os.mkfifo(site.sets / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        (site.sets / "s").mkdir()
        listening.bind(os.path.relpath(site.sets / "s/ock"))  # a socket's path is short
        (site.sets / "to-socket").symlink_to("s/ock")
        (site.sets / "zero").symlink_to("/dev/zero")
        yield site


@KINDS
def test_sockets_pipes_and_devices_are_no_data(odd: Site, environment: str) -> None:
    for name in ("fifo", "s/ock", "to-socket"):
        assert "sockets, devices and pipes do not hold data" in odd.refused(
            odd.sets / name, odd.sets, environment=environment
        )
    assert "leads out" in odd.refused(odd.sets / "zero", odd.sets, environment=environment)


@KINDS
def test_what_is_the_agents_own_is_never_given(site: Site, environment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = site.folder / "agent"
    for value in (agent / "state", agent / "state/runs", agent / "tls", agent / "tls/tls.key", agent, site.folder):
        for root in (value, value.parent):
            assert "state or credentials" in site.refused(value, root, environment=environment)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{site.sets}/engine.sock")
    (site.sets / "engine.sock").write_text("")
    site.refused(site.sets / "engine.sock", site.sets, environment=environment)
    site.refused(site.sets, site.sets, environment=environment)


@KINDS
@pytest.mark.parametrize("variable", ["XDG_CONFIG_HOME", "XDG_STATE_HOME"])
def test_nor_are_the_folders_where_detctl_keeps_credentials(site: Site, environment: str, variable: str) -> None:
    folder = Path(os.environ[variable]) / "detctl"
    folder.mkdir(parents=True)
    site.refused(folder, folder, environment=environment)
    site.refused(folder.parent, folder.parent, environment=environment)


def test_nor_credentials_beside_the_catalog(site: Site) -> None:
    (site.folder / "agent/gpu2").mkdir()
    (site.folder / "agent/gpu2/token").write_text("dct_other")
    (site.folder / "agent/data").mkdir()
    site.refused(site.folder / "agent/gpu2", site.folder / "agent/gpu2")
    assert site.place(site.folder / "agent/data", site.folder / "agent/data") == str(site.folder / "agent/data")


def test_a_container_is_not_given_the_agents_own_by_its_owner_either(site: Site) -> None:
    for own in (site.folder, site.folder / "agent", site.folder / "agent/tls"):
        assert "no container gets them" in site.refused(own, own=own, environment="box")
        assert site.place(own, own=own) == str(own), "without a container nothing is opened: it is the owner's word"


@pytest.mark.parametrize(
    ("root", "said"),
    [
        ("/", "'/' is every file of this machine"), ("//", "every file"), ("/data/..", "every file"), ("/proc", "interfaces of the system"),
        ("/proc/1/root", "interfaces of the system"), ("/sys", "interfaces"), ("/dev", "interfaces"), ("/dev/shm", "interfaces"),
        ("/run", "interfaces"), ("/var/run/x", "interfaces"), ("/run/docker.sock", "interfaces"), ("/a\nb", "cannot be printed"),
    ],
)  # fmt: skip
def test_roots_that_are_none(site: Site, root: str, said: str) -> None:
    with pytest.raises(CatalogError, match=r"^catalog.toml: recipes.digits.roots: data: ") as caught:
        site.catalog(root)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(CatalogError, match=r"^c: roots: "):
        parse({"roots": [root]}, "c")


def test_a_root_that_leads_to_the_system_by_a_link_gives_nothing(site: Site) -> None:
    (site.folder / "all").symlink_to("/")
    (site.folder / "devices").symlink_to("/dev")
    for root in ("all", "devices"):
        site.refused(site.folder / root / "etc", site.folder / root)
        site.refused(site.folder / root, site.folder / root)
    assert root_problem("/dev/shm/data") == ""


def test_a_place_that_is_exchanged_while_the_run_is_prepared_is_refused(site: Site) -> None:
    admitted = site.admitted(site.sets / "one", site.sets)
    found = resolved(admitted, site.private)
    check_unchanged(admitted, found, site.private)
    (site.sets / "one").rename(site.sets / "was")
    (site.sets / "one").symlink_to("two")
    with pytest.raises(RunRefusedError, match="was exchanged"):
        check_unchanged(admitted, found, site.private)


def test_roots_of_the_whole_catalog_hold_where_a_recipe_has_none_and_are_relative_to_the_file(site: Site) -> None:
    path = site.folder / "agent/catalog.toml"
    recipe = 'command = ["python", "t.py", "{data}"]\nfolder = "../recipe"\npaths = ["data"]\nparameters = { data = "../own" }\n'
    path.write_text(
        f'roots = ["../sets"]\n[recipes.all]\n{recipe}[recipes.some]\n{recipe}roots = {{ data = ["../sets/one", "/x"] }}\n'
        f"[recipes.none]\n{recipe}roots = {{ data = [] }}\n"
    )
    path.chmod(0o600)
    recipes = load(path).recipes
    assert recipes["all"].roots == {"data": (f"{path.parent}/../sets",)}
    assert recipes["some"].roots == {"data": (f"{path.parent}/../sets/one", "/x")}
    assert recipes["none"].roots == {"data": ()}
    order = Order("r1", 1, "all", parameters={"data": str(site.sets / "two")})
    assert resolved(admit(load(path), order), site.private) == {"data": str(site.sets / "two")}


def test_roots_are_of_places(site: Site) -> None:
    with pytest.raises(CatalogError, match="roots names 'note', which is not in paths"):
        site.catalog(roots={"note": ["/x"]})


@pytest.mark.parametrize("value", ["-rf", "--output=/etc/x", "-"])
def test_a_value_is_no_option_unless_the_owner_says_so(site: Site, value: str) -> None:
    order = Order("r1", 1, "digits", parameters={"note": value})
    with pytest.raises(RunRefusedError, match="does not match"):
        admit(site.catalog(), order)
    assert admit(site.catalog(patterns={"note": "-.*"}), order).parameters["note"] == value


@pytest.mark.parametrize("value", ["/etc/passwd", "../../secret", "a/../../b", "x=../y"])
def test_a_parameter_that_is_no_place_takes_no_path_unless_the_owner_says_so(site: Site, value: str) -> None:
    order = Order("r1", 1, "digits", parameters={"note": value})
    with pytest.raises(RunRefusedError, match="the parameter is not in `paths`"):
        admit(site.catalog(), order)
    assert admit(site.catalog(patterns={"note": ".*"}), order).parameters["note"] == value
    for harmless in ("s3://bucket/x", "org/model", "a..b", "0.5", ""):
        admit(site.catalog(), Order("r1", 1, "digits", parameters={"note": harmless}))


def prepared(site: Site, admitted: Admitted, monkeypatch: pytest.MonkeyPatch) -> preparation.Prepared:
    container = Container(Image("/usr/bin/podman", "train:1", "sha256:1", {}), "r1.1")
    start = Start({"PATH": "/usr/bin"}, "/usr/bin/python3", container, {"machine": {}, "python": {}})
    monkeypatch.setattr(recipe_training, "start_of", lambda *arguments: start)
    monkeypatch.setattr("detctl_agent.launcher.container._user", lambda engine, account: ())
    folder = RunFolder(site.folder / "agent/state/runs/r1.1")
    folder.create()
    sockets = tempfile.mkdtemp(prefix="dt")  # a socket's path is short
    runtime = RuntimeFolder(folder.tmp, Path(sockets))
    try:
        source = scan(site.folder / "recipe")
        taken = RunSource(source, source.folder, folder.work)
        folder.work.mkdir(exist_ok=True)
        return recipe_training.prepare_recipe(admitted, taken, folder, runtime, machine="gpu1", private=site.private)
    finally:
        runtime.remove()
        Path(sockets).rmdir()


def test_the_mount_and_the_command_have_the_resolved_place(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    (site.sets / "newest").symlink_to("two")
    run = prepared(site, site.admitted(site.sets / "newest", site.sets, environment="box"), monkeypatch)
    mounts = [word for before, word in zip(run.plan.argv, run.plan.argv[1:], strict=False) if before == "--mount"]
    assert f"type=bind,src={site.sets}/two,dst={site.sets}/two,readonly" in mounts
    assert not [word for word in run.plan.argv if "newest" in word]
    assert run.plan.argv[-2] == f"{site.sets}/two"


def test_a_recipes_folder_with_the_agents_credentials_is_not_mounted(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Site, "private", Private((site.folder / "recipe/tls",)))
    with pytest.raises(RunRefusedError, match=r"its folder .*/recipe holds state or credentials"):
        prepared(site, site.admitted(site.own, environment="box"), monkeypatch)


def test_check_says_which_roots_hold_and_which_cannot(site: Site) -> None:
    path = site.folder / "agent/catalog.toml"
    recipe = 'command = ["python", "train.py", "{data}"]\nfolder = "../recipe"\npaths = ["data"]\n'
    recipe += f'parameters = {{ data = "{site.own}" }}\n'
    path.write_text(f'[recipes.none]\n{recipe}[recipes.some]\n{recipe}roots = {{ data = ["{site.sets}"] }}\n')
    path.chmod(0o600)
    words = [
        "--catalog",
        str(path),
        "--state",
        str(site.folder / "agent/state"),
        "--tls",
        str(site.folder / "agent/tls"),
    ]
    done = CliRunner().invoke(check, words)
    assert f"recipe none: a request may set data to {site.own} only, because it has no roots\n" in done.output
    assert f"recipe some: a request may set data to {site.own}, or to a place in {site.sets}\n" in done.output
    assert done.exception is None, done.output
    path.write_text(f'[recipes.bad]\n{recipe}roots = {{ data = ["{site.folder}", "/nowhere/at/all"] }}\n')
    with pytest.raises(CatalogError) as caught:
        CliRunner().invoke(check, words, catch_exceptions=False)
    lines = str(caught.value).splitlines()
    assert f"{path}: recipes.bad.roots.data: {site.folder} holds state or credentials of the agent" in lines[0]
    assert "/nowhere/at/all does not exist" in lines[1]
