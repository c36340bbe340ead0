"""The value that the settings request for an intervention."""

from __future__ import annotations

from typing import Callable

from detctl_probe.recording.recorder import Recorder


def option_value(recorder: Recorder, name: str, fits: Callable[[str], bool], takes: str) -> str:
    """The value. takes: describes the valid values. Raises ValueError for any other, after reading back that it does not act."""
    value = recorder.settings.interventions[name]
    if not fits(value):
        recorder.intervention(name, value, False, "the value must be " + takes)
        raise ValueError("%s=%s is not %s" % (name, value, takes))
    return value
