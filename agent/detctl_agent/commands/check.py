"""`detctl-agent check`: finds problems of a catalog before an agent uses it."""

from __future__ import annotations

import os
from pathlib import Path

from detctl_proto.security.redaction import redact_text

from detctl_agent.catalog import access
from detctl_agent.catalog.catalog import load
from detctl_agent.catalog.places import Private, problems
from detctl_agent.catalog.recipe import Recipe
from detctl_agent.errors import AgentError, CatalogError, SourceError
from detctl_agent.launcher.container import find_image
from detctl_agent.launcher.placeholders import names_in
from detctl_agent.source import git_source, source
from detctl_agent.toolkit import click


@click.command()
@click.option("--catalog", type=click.Path(path_type=Path), required=True, help="Catalog to check (TOML).")
@click.option(
    "--state",
    type=click.Path(path_type=Path),
    envvar="DETCTL_AGENT_STATE",
    help="Folder with the runs of the agent, as for `serve`.",
)
@click.option(
    "--tls",
    metavar="DIR",
    type=click.Path(path_type=Path),
    envvar="DETCTL_TLS",
    help="Folder with the certificate, as for `serve`.",
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    envvar="DETCTL_TOKEN_FILE",
    help="File with the coordinator's token, as for `serve`.",
)
def check(catalog: Path, state: Path | None, tls: Path | None, token_file: Path | None) -> None:
    """Checks a catalog, with the folders, places, roots and interpreters in it.

    Give --state, --tls and --token-file as for `serve`: no root may contain what belongs to the agent. Exit code: 0 if the catalog
    can be used, 2 if it has problems.

    \b
    Example:
      detctl-agent check --catalog catalog.toml --state /var/lib/detctl/gpu1 --tls /etc/detctl/tls
    """
    found = load(catalog)
    if why := access.root_warning(found):
        click.echo(why, err=True)
    wrong = list(problems(found, Private.of_agent(catalog, state, tls, token_file)))
    for name, recipe in found.recipes.items():
        _show_roots(name, recipe)
        try:
            if recipe.source:
                git_source.reachable(recipe.source)
                click.echo(redact_text(f"recipe {name}: {recipe.source}, at the commit that a request names"))
                continue
            scanned = source.scan(recipe.folder, recipe.source_bytes_max)
            click.echo(f"recipe {name}: {len(scanned.paths)} files, digest {scanned.digest[:12]}")
        except SourceError as error:
            wrong.append(f"recipes.{name}.{'source' if recipe.source else 'folder'}: {error}")
        for parameter in recipe.paths:
            if not Path(recipe.parameters[parameter]).exists():
                wrong.append(f"recipes.{name}.parameters.{parameter}: {recipe.parameters[parameter]} does not exist")
        used = names_in(recipe.command)
        for parameter in recipe.parameters:
            if parameter not in used:
                click.echo(f"recipe {name}: the command does not use parameter {parameter}", err=True)
    for name, environment in found.environments.items():
        if environment.image:
            try:
                found_image = find_image(environment.image)
                click.echo(
                    f"environment {name}: image {environment.image}, {found_image.id.removeprefix('sha256:')[:12]}"
                )
            except AgentError as error:
                wrong.append(f"environments.{name}.image: {error}")
        elif environment.python and not os.access(environment.python, os.X_OK):
            wrong.append(
                f"environments.{name}.python: {environment.python} does not exist or cannot be run: correct it"
            )
        else:
            click.echo(f"environment {name}: {environment.python or 'the interpreter of the agent'}")
    wrong += access.problems(found)
    if wrong:
        raise CatalogError("\n".join(f"{catalog}: {problem}" for problem in wrong))


def _show_roots(name: str, recipe: Recipe) -> None:
    for parameter in recipe.paths:
        roots = recipe.roots.get(parameter, ())
        below = f", or to a place in {', '.join(roots)}" if roots else " only, because it has no roots"
        click.echo(f"recipe {name}: a request may set {parameter} to {recipe.parameters[parameter]}{below}")
