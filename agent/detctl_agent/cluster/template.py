"""The Job that an agent makes of each run: a template of the machine's owner, with the run put in. Pure.

In any text of it, `RUN_FOLDER` becomes the run's folder, `RUN_KEY` its name and `IMAGE` the environment's image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from detctl_agent.errors import CatalogError

CONTAINERS = ("recorder", "training")
START_S = 900  # for pulling an image and starting, beside the recipe's own time limit
LABEL = "detctl/run"


def check_template(document: Any, where: str) -> dict[str, Any]:
    """The template, if it can be one. Raises CatalogError, in one line."""
    if not isinstance(document, dict) or document.get("kind") != "Job" or document.get("apiVersion") != "batch/v1":
        raise CatalogError(f"{where}: is no Job of batch/v1")
    try:
        spec = document["spec"]["template"]["spec"]
        found = {container["name"]: container for container in spec["containers"]}
    except (KeyError, TypeError) as error:
        raise CatalogError(f"{where}: spec.template.spec.containers is missing") from error
    for name in CONTAINERS:
        if name not in found:
            raise CatalogError(f"{where}: has no container {name!r} (it needs {' and '.join(CONTAINERS)})")
    words = set(_words(document))
    for word in ("RUN_FOLDER", "IMAGE"):
        if not any(word in text for text in words):
            raise CatalogError(f"{where}: {word} stands nowhere in it: the run would not be found")
    if spec.get("restartPolicy") != "Never":
        raise CatalogError(f"{where}: restartPolicy must be Never: a run that is lost is a new attempt")
    return document


def job_name(key: str) -> str:
    """A name that Kubernetes takes, of `<run id>.<attempt>`."""
    return f"detctl-{key}".replace(".", "-").replace("_", "-")[:63].rstrip("-")


def fill_template(template: dict[str, Any], key: str, folder: Path, image: str, timeout_s: float) -> dict[str, Any]:
    """The Job of a run."""
    values = {"RUN_FOLDER": str(folder), "RUN_KEY": key, "IMAGE": image}

    def put_in(text: str) -> str:
        for word, value in values.items():
            text = text.replace(word, value)
        return text

    job: dict[str, Any] = _mapped(template, put_in)
    metadata = job.setdefault("metadata", {})
    metadata["name"] = job_name(key)
    metadata.setdefault("labels", {})[LABEL] = job_name(key)
    job["spec"]["backoffLimit"] = 0  # whether a run is tried again is the coordinator's word
    job["spec"].setdefault("ttlSecondsAfterFinished", 3600)
    # Ends the pod also where the agent is gone for good.
    job["spec"].setdefault("activeDeadlineSeconds", int(timeout_s) + START_S)
    return job


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_mapped(item, change) for item in value]
    if isinstance(value, dict):
        return {key: _mapped(item, change) for key, item in value.items()}
    return value


def _words(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _words(item)
