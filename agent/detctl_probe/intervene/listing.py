"""Intervention `listing`: sorts or shuffles (`sorted`, `shuffled[:SEED]`) the names of the folders that the training lists.

`shuffled` orders names by a hash of seed, the folder's logical name and name. The order is the same on every machine, whatever the file
system returned, and no random generator is used.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import List, Sequence

from detctl_probe.observe.host.listing_calls import listings
from detctl_probe.process.stderr import log
from detctl_probe.recording.recorder import Recorder

NAME = "listing"


def install(recorder: Recorder) -> None:
    """Logs a line if the settings name an unknown order."""
    value = recorder.settings.interventions[NAME]
    kind, _, seed = value.partition(":")
    if kind not in ("sorted", "shuffled") or (kind == "sorted" and seed):
        why = "%r is not a known order: use sorted or shuffled[:SEED]" % value
        log("intervention listing does not act: %s" % why)
        recorder.intervention(NAME, value, False, why)
        return
    acted = changed = 0

    def arrange(folder: str, names: List[str]) -> Sequence[int]:
        nonlocal acted, changed
        place = recorder.logical(folder)
        if kind == "sorted":
            order = sorted(range(len(names)), key=lambda at: names[at])
        else:
            order = sorted(range(len(names)), key=lambda at: _key(seed, place, names[at]))
            if [names[at] for at in order] == sorted(
                names
            ):  # a shuffle that changes nothing would not be an experiment
                order = order[1:] + order[:1]
        acted += 1
        changed += order != list(range(len(names)))
        recorder.intervention(
            NAME, value, True, "%d listings %s, %d of them came in another order" % (acted, kind, changed)
        )
        return order

    recorder.intervention(NAME, value, False, "the training listed no folder")
    listings(recorder).arrange_by(arrange)


def _key(seed: str, place: str, name: str) -> bytes:
    text = "%s\0%s\0%s" % (seed, place, name)
    return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).digest()
