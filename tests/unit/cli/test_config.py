"""Flags over variables over file; errors name file and key."""

from __future__ import annotations

import pytest
from detctl_cli.config import load_config, user_folder
from detctl_cli.errors import CliError
from detctl_cli.identity.folders import pki_folder


@pytest.fixture(autouse=True)
def variables(monkeypatch, tmp_path):
    """No variable of the caller reaches a test; what a test sets is gone after it."""
    for name in ("DETCTL_CONFIG", "DETCTL_COORDINATOR", "DETCTL_TOKEN_FILE", "DETCTL_TLS", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return monkeypatch


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "detctl" / "config.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return write


def test_precedence(written, variables):
    path = written('coordinator = "127.0.0.1:3"\ntoken_file = "/t"')
    config = load_config()
    assert (config.coordinator, str(config.token_file)) == ("127.0.0.1:3", "/t")
    assert str(path) in config.source
    variables.setenv("DETCTL_COORDINATOR", "127.0.0.1:2")
    variables.setenv("DETCTL_TOKEN_FILE", "/u")
    assert (load_config().coordinator, str(load_config().token_file)) == ("127.0.0.1:2", "/u")
    flag = load_config("unix:/run/x", "/v")
    assert (flag.coordinator, str(flag.token_file), flag.source) == ("unix:/run/x", "/v", "--coordinator")


def test_a_certificate_brings_its_token_and_the_nearer_naming_wins(written, variables):
    written('coordinator = "c.example:3"\ntls = "/file"\ntoken_file = "/t"')
    assert (str(load_config().tls), str(load_config().token_file)) == ("/file", "/t")
    variables.setenv("DETCTL_TLS", "/variable")
    assert str(load_config().tls) == "/variable"
    flag = load_config(tls="/flag")
    assert (str(flag.tls), str(flag.token_file)) == ("/flag", "/flag/token")
    assert str(load_config(token_file="/v", tls="/flag").token_file) == "/v"


def test_nothing_configured(tmp_path, variables):
    assert load_config().coordinator is None
    assert load_config().token_file == tmp_path / "home/.local/state/detctl/token"
    variables.setenv("XDG_STATE_HOME", "/s")
    assert load_config().token_file.as_posix() == "/s/detctl/token"


def test_folders_of_a_user_without_xdg_variables(variables, tmp_path):
    variables.delenv("XDG_CONFIG_HOME")
    assert user_folder() == tmp_path / "home/.config/detctl"
    assert pki_folder(None) == tmp_path / "home/.config/detctl/pki"
    variables.setenv("XDG_CONFIG_HOME", "/c")
    assert (user_folder().as_posix(), pki_folder(None).as_posix()) == ("/c/detctl", "/c/detctl/pki")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("coordinator = 7", "coordinator must be a non-empty string"),
        ('coordinater = "x:1"', "unknown key 'coordinater'"),
        ("coordinator =", "not valid TOML"),
        ('coordinator = "host"', "is not an address"),
        ('coordinator = "host:0"', "is not an address"),
        ('coordinator = "host:99999"', "is not an address"),
        ('coordinator = "unix:"', "does not name a socket"),
    ],
)
def test_errors_name_the_file(written, text, expected):
    path = written(text)
    with pytest.raises(CliError) as caught:
        load_config()
    assert expected in caught.value.message
    assert str(path) in caught.value.message


def test_a_named_file_must_exist(tmp_path, variables):
    variables.setenv("DETCTL_CONFIG", str(tmp_path / "absent.toml"))
    with pytest.raises(CliError, match="no such file"):
        load_config()
