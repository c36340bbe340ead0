"""deploy/systemd: the units are sound to systemd, and what they start takes the flags that they give."""

from __future__ import annotations

import configparser
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = sorted((Path(__file__).resolve().parents[2] / "deploy" / "systemd").glob("*.service"))
each_unit = pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)


def read(unit: Path) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # systemd's keys have capitals
    parser.read_string(unit.read_text())
    return parser


@each_unit
def test_a_unit_is_sound_to_systemd(unit: Path, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    program = shlex.split(read(unit)["Service"]["ExecStart"])[0]
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text().replace(program, "/bin/true"))  # it looks whether the program is there
    done = subprocess.run(["systemd-analyze", "verify", str(copy)], capture_output=True, text=True)
    said = [line for line in done.stderr.splitlines() if unit.name in line]
    assert (done.returncode, said) == (0, []), done.stderr


def test_trainings_of_another_user_are_a_drop_in_that_is_sound(tmp_path: Path) -> None:
    (drop_in,) = sorted(UNITS[0].parent.glob("detctl-agent.service.d/*.conf"))
    service = read(drop_in)["Service"]
    assert service["User"] == "root" and service["Delegate"] == "memory pids"
    assert "CAP_SYS_ADMIN" not in service["CapabilityBoundingSet"]
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    unit = drop_in.parent.with_suffix("")
    program = shlex.split(read(unit)["Service"]["ExecStart"])[0]
    (tmp_path / unit.name).write_text(unit.read_text().replace(program, "/bin/true"))
    shutil.copytree(drop_in.parent, tmp_path / drop_in.parent.name)
    done = subprocess.run(["systemd-analyze", "verify", str(tmp_path / unit.name)], capture_output=True, text=True)
    said = [line for line in done.stderr.splitlines() if "detctl" in line or drop_in.name in line]
    assert (done.returncode, said) == (0, []), done.stderr


@each_unit
def test_a_unit_gives_away_nothing(unit: Path) -> None:
    service = read(unit)["Service"]
    assert service["User"] == "detctl"
    assert (service["NoNewPrivileges"], service["CapabilityBoundingSet"]) == ("yes", "")
    assert service["StateDirectoryMode"] == service["RuntimeDirectoryMode"] == "0700"
    assert service["ProtectSystem"] in ("full", "strict")
    assert not [key for key in service if key == "Environment" and "PASSWORD" in service[key]]


def test_programs_take_what_their_units_give() -> None:
    import click
    from detctl_agent.commands.serve import serve
    from detctl_coordinator.main import coordinator

    commands = {unit.stem: shlex.split(read(unit)["Service"]["ExecStart"]) for unit in UNITS}
    given = coordinator.make_context("detctl-coordinator", commands["detctl-coordinator"][1:]).params
    assert given["listen"] == "0.0.0.0:7450" and given["tls"] is not None
    words, left, _ = serve.make_parser(click.Context(serve)).parse_args(commands["detctl-agent"][1:])
    assert set(words) == {"tls", "catalog", "state"} and left == []
    variables = {option.envvar for option in serve.params}
    assert {"DETCTL_AGENT_NAME", "DETCTL_COORDINATOR"} <= variables, "what the unit's agent.env gives"
