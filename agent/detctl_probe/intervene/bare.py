"""Intervention `bare=N`: an uninstrumented run. It counts steps and records the weights after step N, and nothing else.

The observers cannot affect such a training, so it must end in the same weights as an observed run. start.py leaves out the observers,
and sampling.py all stages except `update`.
"""

from __future__ import annotations

from detctl_probe.intervene.requested import option_value
from detctl_probe.recording.recorder import Recorder

NAME = "bare"


def install(recorder: Recorder) -> None:
    """Raises ValueError for a value that is not a step."""
    value = option_value(recorder, NAME, str.isdigit, "a step")
    recorder.intervention(NAME, value, True, "only the weights after step %s were recorded" % value)
