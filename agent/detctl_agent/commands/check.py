"""`detctl-agent check`: is the catalog sound?"""

from __future__ import annotations

import os
from pathlib import Path

import click

from detctl_agent import git_source, source
from detctl_agent.catalog import load
from detctl_agent.errors import AgentError, CatalogError, SourceError
from detctl_agent.launcher.container import find_image
from detctl_agent.launcher.placeholders import names_in


@click.command()
@click.option("--catalog", type=click.Path(path_type=Path), required=True, help="the catalog to check")
def check(catalog: Path) -> None:
    """Checks a catalog: every recipe's folder, places and interpreter too."""
    found = load(catalog)
    problems = []
    for name, recipe in found.recipes.items():
        try:
            if recipe.source:
                git_source.reachable(recipe.source)
                click.echo(f"recipe {name}: {recipe.source}, the commit that a request names")
                continue
            scanned = source.scan(recipe.folder, int(recipe.source_mb_max * 1024 * 1024))
            click.echo(f"recipe {name}: {len(scanned.paths)} files, digest {scanned.digest[:12]}")
        except SourceError as error:
            problems.append(f"recipes.{name}.{'source' if recipe.source else 'folder'}: {error}")
        for parameter in recipe.paths:
            if not Path(recipe.parameters[parameter]).exists():
                problems.append(f"recipes.{name}.parameters.{parameter}: {recipe.parameters[parameter]} does not exist")
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
                problems.append(f"environments.{name}.image: {error}")
        elif environment.python and not os.access(environment.python, os.X_OK):
            problems.append(f"environments.{name}.python: {environment.python} does not exist or may not be run")
        else:
            click.echo(f"environment {name}: {environment.python or 'the interpreter of the agent'}")
    if problems:
        raise CatalogError("\n".join(f"{catalog}: {problem}" for problem in problems))
