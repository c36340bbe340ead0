"""Intervention `listing`: sorted, or shuffled[:SEED], on the folders that the training lists.

`shuffled` orders names by a hash of seed, folder's logical name and name: the same on every machine whatever the file system gave, and no
random generator is touched.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import List, Sequence

from detctl_probe.observe.host.listing_calls import listings
from detctl_probe.process.stderr import log
from detctl_probe.recording.recorder import Recorder

NAME = "listing"


def install(recorder: Recorder) -> None:
    """Says one line where the settings name an order that is unknown."""
    value = recorder.settings.interventions[NAME]
    kind, _, seed = value.partition(":")
    if kind not in ("sorted", "shuffled") or (kind == "sorted" and seed):
        why = "unknown value %r: use sorted or shuffled[:SEED]" % value
        log("intervention listing: %s; listings stay as they are" % why)
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
            if [names[at] for at in order] == sorted(names):  # a shuffle that does nothing would be no experiment
                order = order[1:] + order[:1]
        acted += 1
        changed += order != list(range(len(names)))
        recorder.intervention(
            NAME, value, True, "%d listings %s, %d of them came in another order" % (acted, kind, changed)
        )
        return order

    recorder.intervention(NAME, value, False, "no folder was listed")
    listings(recorder).arrange_by(arrange)


def _key(seed: str, place: str, name: str) -> bytes:
    text = "%s\0%s\0%s" % (seed, place, name)
    return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).digest()
