"""Catalogs: what is refused, in one line that names file and key, and how changes are followed."""

from __future__ import annotations

from pathlib import Path

import pytest
from detctl_agent.catalog.catalog import CatalogFile, load, parse
from detctl_agent.errors import CatalogError, UnsafeCatalogError

GOOD = """
[recipes.digits]
command = ["python", "train.py", "--data", "{data}", "--workers", "{workers}", "--out", "{out}"]
folder = "/srv/recipes/digits"
timeout_s = 600
paths = ["data"]
pass = ["MY_*"]
[recipes.digits.parameters]
data = "/data/digits"
workers = 2
shuffle = true
[recipes.digits.patterns]
workers = ["0", "2", "4"]
[environments.torch213]
python = "/opt/venvs/torch213/bin/python"
[environments.old]
emulate = { cpu = "default" }
variables = { OMP_NUM_THREADS = 2 }
"""


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_good_catalog(tmp_path: Path) -> None:
    catalog = load(write(tmp_path / "catalog.toml", GOOD))
    recipe = catalog.recipes["digits"]
    assert recipe.parameters == {"data": "/data/digits", "workers": "2", "shuffle": "true"}
    assert recipe.pattern("workers") == "0|2|4"
    assert recipe.pattern("data") == "([A-Za-z0-9._:/=+,@][A-Za-z0-9._:/=+,@-]{0,127})?"
    assert recipe.roots == {"data": ()}
    assert recipe.pass_ == ("MY_*",)
    assert not recipe.runs_in_place
    assert list(catalog.environments) == ["default", "torch213", "old"]
    assert catalog.environments["old"].emulation == {"ATEN_CPU_CAPABILITY": "default"}
    assert catalog.environments["old"].variables == {"OMP_NUM_THREADS": "2"}


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('folder = "/srv/recipes/digits"', "", "recipes.digits.folder: is missing"),
        ('folder = "/srv/recipes/digits"', "folder = 3", "recipes.digits.folder: "),
        ('"python", "train.py", ', "3, ", 'recipes.digits.command.0: must be text, such as "one"'),
        (
            'python = "/opt/venvs/torch213/bin/python"',
            'python = "python3"',
            "environments.torch213.python: must be an abs",
        ),
        ("timeout_s = 600", "timeout_s = 0", "recipes.digits.timeout_s: "),
        ("timeout_s = 600", "timeuot_s = 600", "recipes.digits.timeuot_s: is not a known key"),
        ('paths = ["data"]', 'paths = ["date"]', "recipes.digits: paths names 'date'"),
        ('"{workers}"', '"{worker}"', "recipes.digits: command uses {worker}, which is not a parameter"),
        ('["0", "2", "4"]', '"["', "recipes.digits.patterns: workers: '[' is not a regular expression"),
        ("[recipes.digits]", "[recipes.Digits]", "recipes: 'Digits' is not a valid name"),
        ('data = "/data/digits"', 'data = ""', "parameters.data is a place"),
        ('cpu = "default"', 'cpu = "sse9"', "environments.old.emulate: cpu = 'sse9'"),
        ("OMP_NUM_THREADS = 2", 'HF_TOKEN = "x"', "environments.old.variables: HF_TOKEN looks like a secret"),
        ("OMP_NUM_THREADS = 2", 'HOME = "/x"', "environments.old.variables: HOME is set by detctl"),
        ("workers = 2", "workers = [", "at line"),
        (
            'python = "/opt/venvs/torch213/bin/python"',
            'image = "--privileged"',
            "environments.torch213.image: '--privileged'",
        ),
        (
            'python = "/opt/venvs/torch213/bin/python"',
            'network = "host"',
            "environments.torch213: network needs an image",
        ),
        (
            'python = "/opt/venvs/torch213/bin/python"',
            'image = "x"\nnetwork = "container:other"',
            "environments.torch213.network: ",
        ),
    ],
)
def test_a_bad_catalog_is_one_line_with_file_and_key(tmp_path: Path, before: str, after: str, said: str) -> None:
    assert before in GOOD
    path = write(tmp_path / "catalog.toml", GOOD.replace(before, after))
    with pytest.raises(CatalogError) as caught:
        load(path)
    assert said in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_places_are_relative_to_the_catalog_wherever_the_agent_starts(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    text = GOOD.replace("/srv/recipes/digits", "digits").replace("/data/digits", "../data").replace("/opt", "venvs")
    write(tmp_path / "there" / "catalog.toml", text)
    (tmp_path / "link.toml").symlink_to("there/catalog.toml")
    for path in (tmp_path / "there" / "catalog.toml", tmp_path / "link.toml"):
        catalog = load(path)
        assert catalog.recipes["digits"].folder == tmp_path / "there" / "digits"
        assert catalog.recipes["digits"].parameters["data"] == f"{tmp_path}/there/../data"
        assert catalog.environments["torch213"].python == tmp_path / "there/venvs/venvs/torch213/bin/python"


def test_a_command_that_is_no_list(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"recipes.x.command: must be a list, such as"):
        load(write(tmp_path / "c.toml", '[recipes.x]\ncommand = "python train.py"\nfolder = "."\n'))


def test_no_text(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_bytes(b"a = 1\n\xff")
    with pytest.raises(CatalogError, match=r"c.toml: is not UTF-8 text \(byte 6\)"):
        load(tmp_path / "c.toml")


def test_the_example_is_good() -> None:
    folder = Path(__file__).parents[3] / "examples"
    catalog = load(folder / "catalog.toml")
    assert all((recipe.folder / "train.py").is_file() for recipe in catalog.recipes.values())


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_catalog_that_others_may_write_is_refused(tmp_path: Path, mode: int) -> None:
    path = write(tmp_path / "catalog.toml", GOOD, mode)
    with pytest.raises(UnsafeCatalogError, match=f"chmod go-w {path}"):
        load(path)


def test_a_catalog_in_a_folder_of_everybody_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(UnsafeCatalogError, match="chmod o-w"):
        load(write(tmp_path / "open" / "catalog.toml", GOOD))


def test_a_missing_catalog(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="No such file"):
        load(tmp_path / "none.toml")


def test_the_environment_default_is_always_there() -> None:
    assert list(parse({}, "x").environments) == ["default"]


def test_changes_are_followed_and_a_broken_edit_changes_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "catalog.toml", GOOD)
    catalog = CatalogFile(path)
    assert not catalog.refresh()
    write(path, "[recipes.digits")
    assert not catalog.refresh()
    assert list(catalog.current.recipes) == ["digits"]
    write(path, GOOD + '[environments.new]\nvariables = { TZ = "UTC" }\n')
    assert catalog.refresh()
    assert "new" in catalog.current.environments


def test_a_catalog_that_becomes_writable_offers_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "catalog.toml", GOOD)
    catalog = CatalogFile(path)
    path.chmod(0o666)
    assert catalog.refresh()
    assert catalog.current.recipes == {}
    path.chmod(0o600)
    assert catalog.refresh()
    assert list(catalog.current.recipes) == ["digits"]
