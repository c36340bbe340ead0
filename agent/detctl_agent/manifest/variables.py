"""The variables of a training in its manifest: values of those that can change numbers and of those that the training read, keyed
digests of all others (detctl_proto/security/redaction)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detctl_proto.security.redaction import DIGESTS, RecordingKey, protected_variables


@dataclass(frozen=True)
class RunVariables:
    """values: by name, with names instead of the paths of the run's own folders. key: of the digests."""

    values: Mapping[str, str]
    key: RecordingKey

    @classmethod
    def of(cls, variables: Mapping[str, str], own: Sequence[tuple[str, Path]], key: RecordingKey) -> RunVariables:
        """own: (placeholder, folder) pairs. Variables that detctl sets for the probe are left out."""
        shown = {name: value for name, value in variables.items() if not name.startswith("DETCTL_")}
        for placeholder, folder in own:
            shown = {name: value.replace(str(folder), placeholder) for name, value in shown.items()}
        return cls(shown, key)

    def sections(self, read: Collection[str] = ()) -> dict[str, Any]:
        """`variables` and DIGESTS of a manifest. read: names that the training's own code read."""
        variables, digests = protected_variables(self.values, self.key, read)
        return {"variables": variables, DIGESTS: digests}
