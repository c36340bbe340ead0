"""Whether the runs selected other data: other files, or another number of samples."""

from __future__ import annotations

from detctl_coordinator.attribution.evidence.observed.read_files import read_files
from detctl_coordinator.attribution.evidence.pair_evidence import Evidence, Opened
from detctl_coordinator.domain.fingerprint import Stage

FILES_SHOWN = 2
DATA = (Stage.ORDER, Stage.SAMPLE, Stage.BATCH)


def opened_alone(evidence: Evidence) -> tuple[Opened, Opened]:
    """Returns the files that only the first and only the second run opens, as far as the whole runs show it: in one step, runs that read
    the same files in another order open other files too."""
    left, right = evidence.opened
    manifests = [side.manifest for side in (evidence.left, evidence.right)]
    whole = [{n for n, file in read_files(one).files.items() if not file.unseen} for one in manifests]
    return (
        {name: facts for name, facts in left.items() if name not in right and name not in whole[1]},
        {name: facts for name, facts in right.items() if name not in left and name not in whole[0]},
    )


def changed_files(evidence: Evidence) -> bool:
    """Returns whether a file that both runs opened has another size or content."""
    left, right = evidence.opened
    keys = ("bytes", "content", "digest")
    return any(left[name].get(key) != right[name].get(key) for name in left if name in right for key in keys)


def selection_lines(evidence: Evidence) -> list[str]:
    """Returns a line for each sign that the runs selected other data; empty: there is none."""
    lines = []
    alone = [list(names) for names in opened_alone(evidence)]
    if any(alone):
        shown = [", ".join(names[:FILES_SHOWN]) + (" …" if len(names) > FILES_SHOWN else "") for names in alone]
        lines.append(
            "The runs selected other files: "
            + "; ".join(
                f"only the {which} opens {names}"
                for which, names in zip(("first", "second"), shown, strict=True)
                if names
            )
            + "."
        )
    lead = evidence.root.lead
    if evidence.stage in DATA and lead is not None and lead.left is not None and lead.right is not None:
        ours, theirs = (side.shape[0] if side.shape else None for side in (lead.left, lead.right))
        if ours is not None and theirs is not None and ours != theirs:
            lines.append(f"The runs selected another number of samples: {lead.site} has {ours} rows vs {theirs}.")
    return lines
