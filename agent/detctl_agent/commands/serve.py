"""`detctl-agent --name … --coordinator … --catalog …`: the daemon."""

from __future__ import annotations

import asyncio
from pathlib import Path

from detctl_proto.limits import PARALLEL_RUNS_MAX
from detctl_proto.syntax.names import NAME_RULE, is_name

from detctl_agent import logs
from detctl_agent.catalog.access import root_warning
from detctl_agent.catalog.catalog import Catalog
from detctl_agent.catalog.offers import Offers
from detctl_agent.catalog.places import Private, problems
from detctl_agent.client.channel import Endpoint, check_addresses, read_token
from detctl_agent.client.service import Service
from detctl_agent.cluster.jobs_api import JobsApi
from detctl_agent.cluster.launching import Cluster, read_template
from detctl_agent.errors import AgentError
from detctl_agent.jobs.job_training import JobOptions
from detctl_agent.launcher.cgroup import Cgroups
from detctl_agent.source.overlay import Overlays
from detctl_agent.state import copies
from detctl_agent.state.state_folder import StateFolder, default_state
from detctl_agent.toolkit import click

log = logs.logger("service")


@click.command()
@click.option("--name", required=True, envvar="DETCTL_AGENT_NAME", help="Name of this machine in audits.")
@click.option(
    "--coordinator",
    required=True,
    envvar="DETCTL_COORDINATOR",
    metavar="HOST:PORT",
    help="Address of the coordinator, or unix:/path. Separate replicas by commas.",
)
@click.option(
    "--catalog",
    type=click.Path(path_type=Path),
    required=True,
    envvar="DETCTL_AGENT_CATALOG",
    help="File with recipes and environments (TOML).",
)
@click.option(
    "--state",
    type=click.Path(path_type=Path),
    envvar="DETCTL_AGENT_STATE",
    help="Folder for the runs [default: ~/.local/state/detctl/agents/NAME].",
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    envvar="DETCTL_TOKEN_FILE",
    help="File with the coordinator's token, mode 0600 [default: DIR/token with --tls DIR, else ~/.local/state/detctl/token].",
)
@click.option(
    "--tls",
    metavar="DIR",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    envvar="DETCTL_TLS",
    help="Folder with tls.crt, tls.key, ca.crt and token, made by `detctl machine add NAME`. Required except on loopback.",
)
@click.option(
    "--parallel",
    type=click.IntRange(1, PARALLEL_RUNS_MAX),
    default=1,
    show_default=True,
    help="Number of runs at a time.",
)
@click.option(
    "--inherit-environment", is_flag=True, help="Start trainings with the variables of this process, except secrets."
)
@click.option(
    "--known-answers/--no-known-answers",
    "answers",
    default=True,
    show_default=True,
    envvar="DETCTL_KNOWN_ANSWERS",
    help="Run the known-answer test in each environment before its first training. It takes five seconds, once.",
)
@click.option(
    "--only-kept-answers",
    is_flag=True,
    help="Never run the known-answer test. Manifests get the answers that are kept from an earlier one, if there are any.",
)
@click.option(
    "--jobs",
    type=click.Path(path_type=Path),
    envvar="DETCTL_AGENT_JOBS",
    metavar="FILE",
    help="Train environments with an image as Kubernetes Jobs made from this template (docs/deploy.md).",
)
@click.option(
    "--namespace", envvar="DETCTL_AGENT_NAMESPACE", default="", help="Namespace of the Jobs [default: the agent's own]."
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="Lowest level of log lines.",
)
def serve(
    name: str,
    coordinator: str,
    catalog: Path,
    state: Path | None,
    token_file: Path | None,
    tls: Path | None,
    parallel: int,
    inherit_environment: bool,
    answers: bool,
    only_kept_answers: bool,
    jobs: Path | None,
    namespace: str,
    log_level: str,
) -> None:
    """Runs the agent until SIGTERM or SIGINT.

    The agent connects to its coordinator, runs the trainings that audits request, and sends their fingerprints.

    \b
    Examples:
      detctl-agent serve --name gpu1 --coordinator coordinator.example:7450 --tls DIR --catalog catalog.toml
      detctl-agent --name gpu1 --coordinator localhost:7450 --catalog catalog.toml
    """
    logs.setup(log_level)
    if not is_name(name):
        raise AgentError(f"--name {name!r}: a machine's name is {NAME_RULE}")
    endpoint = Endpoint(check_addresses(coordinator, tls=tls is not None), token_file, tls)
    read_token(token_file)
    cluster = Cluster(JobsApi(namespace), read_template(jobs)) if jobs else None
    folder = StateFolder(state or default_state(name))
    overlays = None if cluster else Overlays(folder.root)
    if overlays:
        overlays.sweep()
    copies.sweep(folder.root)
    offers = Offers(catalog, folder.root / "sources" if inherit_environment else None, overlays)
    private = Private.of_agent(catalog, folder.root, tls, token_file)
    for problem in problems(offers.catalog, private):
        log.warning(logs.line("root_unusable", why=problem))
    cgroups = None if inherit_environment or cluster else Cgroups()
    if cgroups:
        _log_isolation(offers.catalog, cgroups)
    options = JobOptions(
        parallel, inherit_environment, answers, cluster, private, cgroups, overlays, only_kept_answers=only_kept_answers
    )
    try:
        asyncio.run(Service(name, endpoint, offers, folder, options).run())
    finally:
        folder.close()


def _log_isolation(catalog: Catalog, cgroups: Cgroups) -> None:
    if why := root_warning(catalog):
        log.warning(logs.line("trainings_run_as_root", why=why))
    limited = catalog.memory_mb_max or any(recipe.memory_mb_max for recipe in catalog.recipes.values())
    if cgroups.why and limited:
        log.warning(
            logs.line(
                "memory_limit_of_each_process", why=f"memory_mb_max limits each process separately: {cgroups.why}"
            )
        )
    elif cgroups.why:
        log.info(logs.line("no_cgroup", why=cgroups.why))
