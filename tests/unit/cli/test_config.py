"""Flags over variables over file; errors name file and key."""

from __future__ import annotations

import pytest
from detctl_cli.config import load_config
from detctl_cli.errors import CliError


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "detctl" / "config.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return {"XDG_CONFIG_HOME": str(tmp_path), "HOME": "/home/me"}, path

    return write


def test_precedence(written):
    environ, path = written('coordinator = "127.0.0.1:3"\ntoken_file = "/t"')
    config = load_config(environ=environ)
    assert (config.coordinator, str(config.token_file)) == ("127.0.0.1:3", "/t")
    assert str(path) in config.source
    environ |= {"DETCTL_COORDINATOR": "127.0.0.1:2", "DETCTL_TOKEN_FILE": "/u"}
    assert load_config(environ=environ).coordinator == "127.0.0.1:2"
    assert str(load_config(environ=environ).token_file) == "/u"
    flag = load_config("unix:/run/x", "/v", environ=environ)
    assert (flag.coordinator, str(flag.token_file), flag.source) == ("unix:/run/x", "/v", "--coordinator")


def test_a_certificate_brings_its_token_and_the_nearer_naming_wins(written):
    environ, _ = written('coordinator = "c.example:3"\ntls = "/file"\ntoken_file = "/t"')
    assert (str(load_config(environ=environ).tls), str(load_config(environ=environ).token_file)) == ("/file", "/t")
    environ["DETCTL_TLS"] = "/variable"
    assert str(load_config(environ=environ).tls) == "/variable"
    flag = load_config(tls="/flag", environ=environ)
    assert (str(flag.tls), str(flag.token_file)) == ("/flag", "/flag/token")
    assert str(load_config(token_file="/v", tls="/flag", environ=environ).token_file) == "/v"


def test_nothing_configured(tmp_path):
    config = load_config(environ={"HOME": str(tmp_path)})
    assert config.coordinator is None
    assert config.token_file == tmp_path / ".local/state/detctl/token"
    assert load_config(environ={"HOME": "/h", "XDG_STATE_HOME": "/s"}).token_file.as_posix() == "/s/detctl/token"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("coordinator = 7", "coordinator must be a non-empty string"),
        ('coordinater = "x:1"', "unknown key 'coordinater'"),
        ("coordinator =", "not TOML"),
        ('coordinator = "host"', "no address"),
        ('coordinator = "host:0"', "no address"),
        ('coordinator = "host:99999"', "no address"),
        ('coordinator = "unix:"', "names no socket"),
    ],
)
def test_errors_name_the_file(written, text, says):
    environ, path = written(text)
    with pytest.raises(CliError) as caught:
        load_config(environ=environ)
    assert says in caught.value.message
    assert str(path) in caught.value.message


def test_a_named_file_must_exist(tmp_path):
    with pytest.raises(CliError, match="no such file"):
        load_config(environ={"DETCTL_CONFIG": str(tmp_path / "absent.toml"), "HOME": "/h"})
