"""`detctl-agent health`: checks whether the agent of a state folder works."""

from __future__ import annotations

from pathlib import Path

from detctl_agent.client.health import check_sign
from detctl_agent.errors import AgentError
from detctl_agent.state.state_folder import default_state
from detctl_agent.toolkit import click


@click.command()
@click.option("--name", envvar="DETCTL_AGENT_NAME", help="Name of the agent, if --state is not given.")
@click.option(
    "--state",
    envvar="DETCTL_AGENT_STATE",
    type=click.Path(path_type=Path),
    help="Folder for the runs, as for `serve`.",
)
@click.option("--connected", is_flag=True, help="Also check that the agent is connected to its coordinator.")
def health(name: str | None, state: Path | None, connected: bool) -> None:
    """Checks whether the agent works, for example as an exec probe.

    Exit code: 0 if it works, 2 if it does not.

    \b
    Example:
      detctl-agent health --name gpu1 --connected
    """
    if state is None and not name:
        raise AgentError("health: the agent is not known: give --name NAME or --state DIR")
    check_sign(state or default_state(name or ""), connected=connected)
