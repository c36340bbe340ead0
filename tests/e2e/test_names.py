"""Names that are taken."""

from __future__ import annotations

from pathlib import Path

from house import House, catalog, wait_for


def test_a_second_agent_of_the_same_name_is_told(house: House, numbers: Path) -> None:
    house.agent("gpu1", catalog(numbers, arguments="--by-hand"))
    house.start(
        "second", "detctl_agent.main", "--name", "gpu1", "--coordinator", house.address,
        "--catalog", str(house.folder / "gpu1.toml"), "--state", str(house.folder / "other"),
    )  # fmt: skip
    told = "another agent named gpu1 is connected: stop it, or start this one with another --name"
    wait_for("the second agent is told", lambda: told in (house.folder / "second.log").read_text())
    assert house.machine("gpu1")["connected"]

    house.kill("agent-gpu1")
    try:
        wait_for("the second takes its place", lambda: " connected to=" in (house.folder / "second.log").read_text())
        wait_for("it is known", lambda: house.machine("gpu1")["connected"])
    except AssertionError as error:
        raise AssertionError(house.logs()) from error
    house.verdict("audit", "mlp", "--machines", "gpu1", "--twins", "2", exit_code=0)
