"""The Job of a run: a template of the machine's owner, with the values of the run. Pure.

In every text of the template, `RUN_FOLDER` becomes the run's folder, `RUN_KEY` its name and `IMAGE` the environment's image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from detctl_agent.errors import CatalogError

CONTAINERS = ("recorder", "training")
START_S = 900  # for pulling an image and starting, added to the recipe's time limit
LABEL = "detctl/run"


def check_template(document: Any, where: str) -> dict[str, Any]:
    """The template, if it is valid. Raises CatalogError, in one line."""
    if not isinstance(document, dict) or document.get("kind") != "Job" or document.get("apiVersion") != "batch/v1":
        raise CatalogError(f"{where}: is not a Job of batch/v1")
    try:
        spec = document["spec"]["template"]["spec"]
        found = {container["name"]: container for container in spec["containers"]}
    except (KeyError, TypeError) as error:
        raise CatalogError(f"{where}: spec.template.spec.containers is missing") from error
    for name in CONTAINERS:
        if name not in found:
            raise CatalogError(f"{where}: has no container {name!r} (it needs {' and '.join(CONTAINERS)})")
    texts = set(_texts(document))
    for word in ("RUN_FOLDER", "IMAGE"):
        if not any(word in text for text in texts):
            raise CatalogError(f"{where}: {word} is missing: the recorder would not find its run")
    if spec.get("restartPolicy") != "Never":
        raise CatalogError(f"{where}: restartPolicy must be Never: a lost run becomes a new attempt")
    return document


def job_name(key: str) -> str:
    """The name of the Job for `<run id>.<attempt>`, in the form that Kubernetes accepts."""
    return f"detctl-{key}".replace(".", "-").replace("_", "-")[:63].rstrip("-")


def fill_template(template: dict[str, Any], key: str, folder: Path, image: str, timeout_s: float) -> dict[str, Any]:
    """The Job of a run: the template with its values."""
    values = {"RUN_FOLDER": str(folder), "RUN_KEY": key, "IMAGE": image}

    def put_in(text: str) -> str:
        for word, value in values.items():
            text = text.replace(word, value)
        return text

    job: dict[str, Any] = _mapped(template, put_in)
    metadata = job.setdefault("metadata", {})
    metadata["name"] = job_name(key)
    metadata.setdefault("labels", {})[LABEL] = job_name(key)
    job["spec"]["backoffLimit"] = 0  # the coordinator decides whether a run is tried again
    job["spec"].setdefault("ttlSecondsAfterFinished", 3600)
    # Ends the pod even if the agent never comes back.
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


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)
