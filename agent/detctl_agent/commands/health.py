"""`detctl-agent health`: does the agent that works here live?"""

from __future__ import annotations

from pathlib import Path

import click

from detctl_agent.client.health import check_sign
from detctl_agent.errors import AgentError
from detctl_agent.state.state_folder import default_state


@click.command()
@click.option("--name", envvar="DETCTL_AGENT_NAME", help="of the agent, where --state is not given")
@click.option("--state", envvar="DETCTL_AGENT_STATE", type=click.Path(path_type=Path), help="the agent's folder")
@click.option("--connected", is_flag=True, help="and is its coordinator there?")
def health(name: str | None, state: Path | None, connected: bool) -> None:
    """Exit 0 where the agent lives, 2 where it does not: for an exec probe."""
    if state is None and not name:
        raise AgentError("health: which agent? --name NAME or --state DIR")
    check_sign(state or default_state(name or ""), connected=connected)
