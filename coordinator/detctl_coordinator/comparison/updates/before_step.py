"""Separates what an optimizer has before its step (settings, restored state) from what the step computes.

Both are in stage update (agent: detctl_probe/observe/optimization/before_step.py). What an optimizer has before its step decides nothing
alone: a setting may have no effect, and a run that restores the state that it just saved trains on as if it had not. So it is a part of its
own, which explains the update.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from detctl_coordinator.comparison.alignment import SiteDifference, align
from detctl_coordinator.comparison.first_divergence import Side, StreamDifference, compared_steps
from detctl_coordinator.comparison.steps.schedule import since
from detctl_coordinator.domain.fingerprint import Fingerprint

# Differing steps that are read to find the first in which an update differs too. After them it counts as different.
DIFFERING_STEPS_MAX = 4096
_SITE = re.compile(r"(optimizer\d+)/(settings|state/(.+))")


def is_before_step(site: str) -> bool:
    """Returns whether a site of stage update shows what an optimizer has before its step."""
    return _SITE.fullmatch(site) is not None


def optimizer_of(site: str) -> str:
    """Returns `optimizer1` for `optimizer1/settings`; empty for other sites."""
    found = _SITE.fullmatch(site)
    return found[1] if found else ""


def is_settings(site: str) -> bool:
    """Returns whether a site holds the settings of an optimizer."""
    found = _SITE.fullmatch(site)
    return found is not None and found[2] == "settings"


def state_of(site: str) -> tuple[str, str] | None:
    """Returns (`root1/0.weight`, `exp_avg`) for `optimizer1/state/root1/0.weight.exp_avg`; None for sites without state."""
    found = _SITE.fullmatch(site)
    if found is None or found[3] is None:
        return None
    parameter, _, key = found[3].rpartition(".")
    return parameter, key


def settings_first(sites: Sequence[SiteDifference]) -> tuple[SiteDifference, ...]:
    """Returns what differs before a step, settings before state: another setting may be why the state is another."""
    found = [site for site in sites if is_before_step(site.site)]
    return tuple(sorted(found, key=lambda site: not is_settings(site.site)))


def first_update(left: Side, right: Side, difference: StreamDifference) -> StreamDifference | None:
    """Returns the first difference of a stream apart from what optimizers have before a step; None: there is no other."""
    examined = 0
    for step, a, b in compared_steps(left, right, 0):
        if step < difference.step or (a is not None and b is not None and (a.sum, a.count) == (b.sum, b.count)):
            continue
        examined += 1
        found = [d for d in align(_records(left, step), _records(right, step)) if not is_before_step(d.site)]
        if found or examined > DIFFERING_STEPS_MAX:
            structural = any(d.left is None or d.right is None for d in found)
            earliest = since(left.schedule, right.schedule, step)
            return replace(difference, step=step, structural=structural, since=earliest)
    return None


def _records(side: Side, step: int) -> list[Fingerprint]:
    return side.reader.records(side.key, step) if side.key in side.reader.streams() else []
