"""Starts an admitted run in the cluster, and deletes what an earlier agent left there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detctl_proto.files.regular_file import read_regular

from detctl_agent.catalog.admission import Admitted
from detctl_agent.cluster import handover
from detctl_agent.cluster.jobs_api import JobsApi
from detctl_agent.cluster.runner import ClusterRunner
from detctl_agent.cluster.template import START_S, check_template, fill_template, job_name
from detctl_agent.errors import CatalogError, RunRefusedError
from detctl_agent.source.run_source import RunSource
from detctl_agent.state.run_folder import RunFolder

TEMPLATE_BYTES_MAX = 1024 * 1024


@dataclass(frozen=True)
class Cluster:
    """The cluster that trains environments with an image, as Jobs made from `template`."""

    api: JobsApi
    template: dict[str, Any]

    def runner(
        self,
        admitted: Admitted,
        source: RunSource,
        folder: RunFolder,
        machine: str,
        on_started: Callable[[], None],
        on_spooled: Callable[[], None],
    ) -> ClusterRunner:
        """Writes the order for the recorder. Raises DiskFullError or AgentError."""
        order, recipe = admitted.order, admitted.recipe
        handover.write_order(folder, admitted, source, machine)
        return ClusterRunner(
            self.api,
            folder,
            order.key,
            job=fill_template(self.template, order.key, folder.root, admitted.environment.image, recipe.timeout_s),
            start_s=START_S,
            grace_s=recipe.grace_s,
            on_started=on_started,
            on_spooled=on_spooled,
        )

    def check(self, admitted: Admitted) -> None:
        """Raises RunRefusedError if a run cannot be a Job."""
        if admitted.recipe.runs_in_place:
            raise RunRefusedError(
                f"recipe {admitted.order.recipe} runs in place: a Job has no such place; leave out in_place"
            )
        if admitted.user:
            raise RunRefusedError(
                f"user = {admitted.user!r}: the template sets the user of a Job (runAsUser); leave out user"
            )
        if admitted.limits.memory_mb_max is not None:
            raise RunRefusedError(
                f"memory_mb_max of {admitted.limits.memory_place}: a Job has the limits of its template "
                "(resources.limits.memory); leave out memory_mb_max"
            )

    def delete(self, key: str) -> None:
        """Deletes the Job of a run that an earlier start of the agent left."""
        self.api.delete(job_name(key))


def read_template(path: Path) -> dict[str, Any]:
    """Raises CatalogError, in one line."""
    try:
        import yaml
    except ImportError as error:
        raise CatalogError("launching Jobs needs the package kubernetes: pip install 'detctl[kubernetes]'") from error
    try:
        return check_template(
            yaml.safe_load(read_regular(path, TEMPLATE_BYTES_MAX, follow=True).decode("utf-8")), str(path)
        )
    except OSError as error:
        raise CatalogError(f"{path}: {error.strerror}: give the path of the template with --jobs") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CatalogError(f"{path}: is not YAML: {str(error).splitlines()[0]}") from error
