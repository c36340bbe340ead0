"""Labels of runs are read as they are written."""

from __future__ import annotations

import pytest
from detctl_proto.recordings.run_labels import BASE, RunLabel, parse_label, variation_text


@pytest.mark.parametrize(
    "label",
    [
        RunLabel("gpu1", "default", BASE, "twin", 0),
        RunLabel("gpu1", "py311", "data=/srv/a-1,lr=0.1", "experiment", 17),
        RunLabel("gpu-1", "default", "probe:seed=0:steps", "zoom", 2),
    ],
)
def test_a_label_is_read_as_it_was_written(label: RunLabel) -> None:
    assert parse_label(str(label)) == label


@pytest.mark.parametrize(
    "text", ["", "gpu1", "gpu1/default/base", "gpu1/default/twin-0", "/a/b/twin-0", "a/b/c/twin-", "a/b/c/twin-²"]
)
def test_texts_that_are_not_labels(text: str) -> None:
    assert parse_label(text) is None


def test_variations() -> None:
    assert variation_text([]) == BASE
    assert variation_text([("lr", "0.1"), ("workers", "0")]) == "lr=0.1,workers=0"
