"""Reads the machines of the store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from detctl_coordinator.domain.machine import Machine, machine_from_document
from detctl_coordinator.storage.schemas import checked_machine
from detctl_coordinator.storage.store import DocumentError, NamedRows, Unreadable


def read_machines(documents: NamedRows[Mapping[str, Any]]) -> NamedRows[Machine]:
    """Returns the machines by name. A machine whose document cannot be read counts as gone until its agent writes a new one."""
    found: dict[str, Machine] = {}
    bad = list(documents.unreadable)
    for name, document in documents.items():
        try:
            found[name] = machine_from_document(checked_machine(document))
        except DocumentError as error:
            bad.append(Unreadable("machine", name, str(error)))
    return NamedRows(found, bad)
