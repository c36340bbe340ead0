"""Protobuf, the probe (which imports nothing from us) and the contract each list stages, phases and levels: the lists are equal."""

from __future__ import annotations

from detctl_coordinator.comparison.roots import PARENTS
from detctl_coordinator.domain.fingerprint import Phase, Stage
from detctl_coordinator.domain.verdict import Verdict
from detctl_probe.settings import Settings
from detctl_probe.transport import frames
from detctl_proto.levels import DEFAULT_LEVEL, LEVELS
from detctl_proto.v1 import records_pb2
from detctl_proto.verdict_words import EXIT_CODES, STAGES


def test_stages_have_one_numbering() -> None:
    of_contract = {name.removeprefix("STAGE_").lower(): number for name, number in records_pb2.Stage.items()}
    assert of_contract == frames.STAGE_NUMBERS == {stage.word: int(stage) for stage in Stage}
    assert tuple(of_contract) == frames.STAGES == STAGES, "the causal order"


def test_phases_have_one_numbering() -> None:
    of_contract = {name.removeprefix("PHASE_").lower(): number for name, number in records_pb2.Phase.items()}
    assert of_contract == frames.PHASE_NUMBERS == {phase.word: int(phase) for phase in Phase}


def test_each_stage_has_its_parents() -> None:
    assert list(PARENTS) == list(Stage)
    assert all(stage not in parents for stage, parents in PARENTS.items())


def test_levels() -> None:
    assert Settings.level == DEFAULT_LEVEL and DEFAULT_LEVEL in LEVELS


def test_each_outcome_has_an_exit_code() -> None:
    schema = Verdict.model_json_schema()["properties"]["outcome"]
    assert set(schema["enum"]) == set(EXIT_CODES)
    assert len(set(EXIT_CODES.values())) == len(EXIT_CODES)
