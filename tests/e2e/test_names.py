"""Names that are taken."""

from __future__ import annotations

from pathlib import Path

from deployment import Deployment, catalog, wait_for


def test_a_second_agent_of_the_same_name_is_told(deployment: Deployment, numbers: Path) -> None:
    deployment.agent("gpu1", catalog(numbers, arguments="--by-hand"))
    deployment.start(
        "second", "detctl_agent.main", "--name", "gpu1", "--coordinator", deployment.address,
        "--catalog", str(deployment.folder / "gpu1.toml"), "--state", str(deployment.folder / "other"),
    )  # fmt: skip
    told = "another agent named gpu1 is connected: stop it, or start this one with another --name"
    wait_for("the second agent is told", lambda: told in (deployment.folder / "second.log").read_text())
    assert deployment.machine("gpu1")["connected"]

    deployment.kill("agent-gpu1")
    try:
        wait_for(
            "the second takes its place", lambda: " connected to=" in (deployment.folder / "second.log").read_text()
        )
        wait_for("it is known", lambda: deployment.machine("gpu1")["connected"])
    except AssertionError as error:
        raise AssertionError(deployment.logs()) from error
    deployment.verdict("audit", "mlp", "--machines", "gpu1", "--twins", "2", exit_code=0)
