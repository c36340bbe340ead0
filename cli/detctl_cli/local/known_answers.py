"""Documents of the known-answer test (detctl.kat/v1): computed here, read from files, and sorted into classes of equal answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from detctl_proto.files.regular_file import RegularFileError, read_regular
from detctl_proto.known_answers import class_of_answers
from detctl_proto.outside_json import JsonError, describe_faults, parse_object
from pydantic import BaseModel, ValidationError

from detctl_cli.errors import UsageError

SCHEMA = "detctl.kat/v1"
RESULT = "detctl.kat-classes/v1"
MODULE = "detctl_selfcheck"
BYTES_MAX = 1024 * 1024


class _Document(BaseModel):
    answers: dict[str, str]
    torch: str | None = None
    settings: dict[str, Any] | None = None


def answer_here(python: str | None) -> dict[str, Any]:
    """Returns the answers of this machine. Raises CliError if no interpreter has torch."""
    from detctl_cli.local.torch_child import run_module

    document = run_module(MODULE, [], python, lambda done, of: None)
    return {"schema": SCHEMA, "class": class_of_answers(document["answers"]), **document}


def read(path: Path) -> dict[str, Any]:
    """Returns a document from a file. Raises UsageError if the file does not contain one."""
    hint = f"create it with detctl kat --json > {path.name}"
    try:
        document = parse_object(read_regular(path, BYTES_MAX, follow=True), str(path), BYTES_MAX)
    except RegularFileError as problem:
        raise UsageError(f"{path} cannot be read: {problem.strerror}", hint) from None
    except JsonError as problem:
        raise UsageError(f"{path} does not contain answers of the known-answer test: {problem}", hint) from None
    if document.get("schema") != SCHEMA:
        raise UsageError(f"{path} does not contain answers of the known-answer test", hint)
    try:
        _Document.model_validate(document)
    except ValidationError as problem:
        raise UsageError(describe_faults(f"{path}: its answers are damaged", problem.errors()), hint) from None
    return document


def compared(documents: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Returns {"schema", "classes": [[name, …], …], "differ": {question: [[name, …], …]}, "missing": {question: [name, …]}}.

    A question that only some documents answer is `missing` and does not separate classes. Raises UsageError for a single document,
    and if no question is answered in all documents.
    """
    if len(documents) < 2:
        raise UsageError("one file has nothing to be compared with", "detctl kat A.json B.json")
    questions = sorted({question for document in documents.values() for question in document["answers"]})
    missing = {
        question: [name for name, document in documents.items() if question not in document["answers"]]
        for question in questions
    }
    shared = [question for question in questions if not missing[question]]
    if not shared:
        raise UsageError("no question is answered in all of these files", "create them with the same version of detctl")
    differ = {}
    for question in shared:
        groups = _groups({name: document["answers"][question] for name, document in documents.items()})
        if len(groups) > 1:
            differ[question] = groups
    whole = {
        name: json.dumps([document["answers"][question] for question in shared]) for name, document in documents.items()
    }
    return {
        "schema": RESULT,
        "classes": _groups(whole),
        "asked": len(shared),
        "differ": differ,
        "missing": {question: names for question, names in missing.items() if names},
        "settings": {name: {"torch": d.get("torch"), **dict(d.get("settings") or {})} for name, d in documents.items()},
    }


def _groups(values: Mapping[str, str]) -> list[list[str]]:
    """Returns groups of names with equal values, in the order of their first name."""
    groups: dict[str, list[str]] = {}
    for name, value in values.items():
        groups.setdefault(value, []).append(name)
    return list(groups.values())
