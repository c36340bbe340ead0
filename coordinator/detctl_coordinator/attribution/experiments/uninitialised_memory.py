"""Training that reads memory before it writes it, as experiments show it."""

from __future__ import annotations

from detctl_coordinator.attribution.experiments.rounds import by_experiment
from detctl_coordinator.comparison.reader import RunReader
from detctl_coordinator.comparison.steps.window import finished_steps
from detctl_coordinator.domain.fingerprint import Phase, Stage


def reads_uninitialised(native: RunReader, filled: RunReader) -> str:
    """Returns a line of evidence if the loss is NaN only under deterministic algorithms, else nothing. They fill new memory
    with NaN, so the training reads memory before it writes it."""
    step, before = _first_nan(filled), _first_nan(native)
    if step is None or (before is not None and before <= step):
        return ""
    return by_experiment(
        f"With deterministic=on, which fills new memory with NaN, the loss is NaN from step {step} on. "
        "Without it, the loss is a number there."
    )


def _first_nan(reader: RunReader) -> int | None:
    keys = [key for key in reader.streams() if key.stage is Stage.LOSS and key.phase is Phase.TRAIN]
    for step in range(finished_steps(reader)):
        sketches = [record.sketch for key in keys for record in reader.records(key, step)]
        if any(sketch is not None and sketch[0] > 0 for sketch in sketches):  # the first number of a sketch counts NaN
            return step
    return None
