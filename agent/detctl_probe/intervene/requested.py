"""The value that the settings name for an intervention; one that means nothing is read back as such."""

from __future__ import annotations

from typing import Callable

from detctl_probe.recording.recorder import Recorder


def value_of(recorder: Recorder, name: str, fits: Callable[[str], bool], takes: str) -> str:
    """The value; `takes`: what fits, in words. Raises ValueError for another, which acts on nothing."""
    value = recorder.settings.interventions[name]
    if not fits(value):
        recorder.intervention(name, value, False, "takes " + takes)
        raise ValueError("%s=%s is not %s" % (name, value, takes))
    return value
