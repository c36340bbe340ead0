"""Facts about a machine and a run: one file for each section, combined here. Coordinator domain/manifest.py describes the sections."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from detctl_proto.security.redaction import protected_recipe

from detctl_agent.launcher.account import Account
from detctl_agent.manifest.gpu import gpu_facts
from detctl_agent.manifest.image import image_facts as image_facts
from detctl_agent.manifest.known_answers import known_answers as known_answers
from detctl_agent.manifest.locale import locale_facts
from detctl_agent.manifest.machine import machine_facts
from detctl_agent.manifest.python import python_facts
from detctl_agent.manifest.storage import storage_facts
from detctl_agent.manifest.variables import RunVariables


def machine_manifest(name: str) -> dict[str, Any]:
    """The sections that do not depend on a run: `machine`, `gpu`, `locale`."""
    return {"machine": machine_facts(name), "gpu": gpu_facts(), "locale": locale_facts({})}


def run_manifest(
    name: str,
    *,
    interpreter: str,
    variables: Mapping[str, str],
    shown: RunVariables,
    places: Mapping[str, str],
    recipe: Mapping[str, Any],
    environment: Mapping[str, Any],
    inside: Mapping[str, Any] | None = None,
    account: Account | None = None,
) -> dict[str, Any]:
    """The manifest of one run. variables: those of the training; shown: what is recorded of them.
    inside: facts about the run's image (manifest/image.py, sidecar/attach.py), which replace the host's; None: it has none.
    account: the user that the training runs as; None: the user of this process."""
    return {
        "machine": {**machine_facts(name), **(inside["machine"] if inside else {})},
        "python": dict(inside["python"]) if inside else python_facts(interpreter, variables, account),
        "gpu": inside["gpu"] if inside and "gpu" in inside else gpu_facts(),
        "locale": locale_facts(variables),
        **shown.sections(),
        "storage": storage_facts(places),
        "recipe": protected_recipe(recipe, shown.key),
        "environment": dict(environment),
    }


def with_observed(
    manifest: Mapping[str, Any], facts: Mapping[str, Any], shown: RunVariables, read: Collection[str]
) -> dict[str, Any]:
    """The manifest with what the probe observed inside the training: the section `torch`; Python's version and packages as the
    training sees them (PYTHONPATH, a pyenv shim), which replace those of the interpreter alone; and the values of the variables
    that the training's own code read."""
    found = {**manifest, **shown.sections(read)}
    if torch := torch_section(facts):
        found["torch"] = torch
    python = dict(found.get("python") or {})
    if isinstance(facts.get("python"), str):
        python["version"] = facts["python"]
    if isinstance(facts.get("packages"), dict) and facts["packages"]:
        python["packages"] = dict(sorted(facts["packages"].items()))
    if python:
        found["python"] = python
    return found


def torch_section(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The section `torch` from what the probe observed inside the training; empty if it observed nothing."""
    if not facts:
        return {}
    taken = {
        key: value
        for key, value in facts.items()
        if key not in ("packages", "python", "variables", "rank", "world_size", "torch")
    }
    return {"version": facts["torch"], **taken} if "torch" in facts else taken
