"""Intervention `bare=N`: a run without instruments. Steps are counted, and the weights after step N are shown; nothing else is watched.

What the probe's observers might do to a training they cannot do here: such a run must end in the weights of an observed one. start.py
leaves the observers out, sampling.py all stages but this one.
"""

from __future__ import annotations

from detctl_probe.intervene.requested import value_of
from detctl_probe.recording.recorder import Recorder

NAME = "bare"


def install(recorder: Recorder) -> None:
    """Raises ValueError for a value that is no step."""
    value = value_of(recorder, NAME, str.isdigit, "a step")
    recorder.intervention(NAME, value, True, "nothing was observed but the weights after step %s" % value)
