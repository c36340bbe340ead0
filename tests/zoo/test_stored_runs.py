"""Over runs that the zoo has stored: with every sentence replaced by a placeholder, the coordinator decides the same."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from detctl_coordinator.domain.verdict import Verdict
from detctl_coordinator.storage.open_store import open_store
from detctl_coordinator.scheduling.verdicts import judge_audit

from tests.support.without_words import decisions, without_words
from tests.zoo.run_zoo import Zoo
from tests.zoo.zoo_cases import load


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(("set_order",), marks=pytest.mark.slow),
        pytest.param(("default_rng", "listdir_order", "two_causes"), marks=pytest.mark.soak),
    ],
)
def test_stored_runs_are_judged_the_same_without_their_sentences(names: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "deployment").mkdir()
    cases = [load(name) for name in names]
    with tempfile.TemporaryDirectory(dir="/dev/shm") as data:  # a tmpfs: listed in the order of creation
        zoo = Zoo(tmp_path, Path(data), twins=2, explain=True)
        try:
            zoo.start(cases)
            found = {case.name: (zoo.verdict(case)[0], case.mode) for case in cases}
        finally:
            zoo.close()
    for name, (document, mode) in found.items():
        file = (
            tmp_path / "deployment" / "store.db"
            if mode == "machines"
            else tmp_path / "work" / name / ".detctl/store.sqlite"
        )
        store = open_store(f"sqlite:{file}", must_exist=True)
        try:
            audit = store.audit(document["audit"])
            assert audit is not None
            as_reported = decisions(Verdict.model_validate(document))
            with pytest.MonkeyPatch.context() as patch:
                without_words(patch)
                judged = judge_audit(store, audit)
            assert decisions(Verdict.from_json(judged.verdict_json)) == as_reported, json.dumps(document)
            assert document["causes"], name
        finally:
            store.close()
