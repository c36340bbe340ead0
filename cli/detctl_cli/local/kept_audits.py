"""What `detctl explain` needs to run the command of a local audit again: its catalog and the shell's variables, below .detctl/catalogs."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from detctl_proto.files.private_files import make_private_folder, private
from detctl_proto.security.redaction import is_open
from detctl_proto.syntax.names import is_name

from detctl_cli.local.places import data_folder, find_data_folder


@dataclass(frozen=True)
class KeptAudit:
    """catalog: TOML. place: the folder that the audit belongs to. variables: of the shell that started it, without credentials."""

    catalog: str
    place: Path
    variables: Mapping[str, str]

    def environ(self, caller: Mapping[str, str]) -> dict[str, str]:
        """Returns the variables of the audit. Those that may hold credentials were not kept: they come from the caller."""
        if not self.variables:
            return dict(caller)
        own = {name: value for name, value in caller.items() if not _may_be_kept(name, value)}
        return {**own, **self.variables}


def keep(audit_id: str, catalog: str, variables: Mapping[str, str]) -> None:
    """Keeps the catalog of a local audit and those variables that hold no credential."""
    folder = data_folder(Path.cwd())[0] / "catalogs"
    make_private_folder(folder)
    kept = {name: value for name, value in sorted(variables.items()) if _may_be_kept(name, value)}
    for path, text in zip(_files(folder, audit_id), (catalog, json.dumps(kept, indent=1)), strict=True):
        with open(path, "w", encoding="utf-8", opener=private) as stream:
            stream.write(text)


def kept(audit_id: str) -> KeptAudit | None:
    """Returns what was kept of a local audit of this folder, or of the nearest one above it with data.

    None: nothing is there, or another user wrote it, whose command must not run as ours.
    """
    found = find_data_folder(Path.cwd())
    if found is None or not is_name(audit_id):
        return None
    data, place = found
    texts = []
    try:
        for path in _files(data / "catalogs", audit_id):
            with open(path, encoding="utf-8") as stream:
                if os.fstat(stream.fileno()).st_uid != os.getuid():
                    return None
                texts.append(stream.read())
    except FileNotFoundError:
        if not texts:
            return None
    return KeptAudit(texts[0], place, json.loads(texts[1]) if len(texts) > 1 else {})


def forget(audit_id: str) -> None:
    """Deletes what was kept of a local audit, whose runs are gone."""
    found = find_data_folder(Path.cwd())
    if found is not None and is_name(audit_id):
        for path in _files(found[0] / "catalogs", audit_id):
            path.unlink(missing_ok=True)


def _may_be_kept(name: str, value: str) -> bool:
    return not name.startswith("DETCTL_") and is_open(name, value, read=True)


def _files(folder: Path, audit_id: str) -> tuple[Path, Path]:
    return folder / f"{audit_id}.toml", folder / f"{audit_id}.variables.json"
