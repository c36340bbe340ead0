"""The published verdict, schema `detctl.verdict/v1`. Within v1, keys may be added but never change (docs/adr/0022).

`python -m detctl_coordinator.domain.verdict` prints the JSON Schema that is published as docs/verdict.schema.json.
"""

from __future__ import annotations

import json
import sys
from typing import Any, Literal

from detctl_proto.recordings.run_failures import FailureKind
from detctl_proto.security.redaction import redact_document
from detctl_proto.verdict_words import (
    EXIT_CODES,
    KindWord,
    OriginWord,
    OutcomeWord,
    PatternWord,
    ShortTypeWord,
    SideWord,
    StageWord,
)
from pydantic import BaseModel, ConfigDict, Field

from detctl_coordinator.domain.clue import Clue

FEW_ULPS = 4
SCHEMA: Literal["detctl.verdict/v1"] = "detctl.verdict/v1"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Cause(_Part):
    """Why two runs differ. `cause`: a cause word of docs/causes.md. `runs`: the two runs that show it. `change`: the fix as a diff.

    `evidence`, `caveats` and `fix` are sentences for people; `clues`, `fix_settings` and `fix_at` are the same facts as data.
    `caveats`: other explanations that only an experiment can exclude. `fix_settings`: keys of the manifest (`variables.TZ`,
    `recipe.parameters.workers`) that the fix makes equal. `fix_at`: the file and line that it changes.
    `carried_on_to`: the stages that the difference propagates to."""

    cause: str
    origin: OriginWord | None
    confidence: Literal["indicated", "confirmed"] = "indicated"
    stage: StageWord
    step: int
    site: str
    kind: KindWord
    confirmed_by: Literal["swap", "equalised"] | None = None
    evidence: list[str] = Field(default_factory=list)
    caveats: list[str] = Field(default_factory=list)
    clues: list[Clue] = Field(default_factory=list)
    fix: str = ""
    fix_settings: list[str] = Field(default_factory=list)
    fix_at: str = ""
    change: list[str] = Field(default_factory=list)
    runs: list[str] = Field(default_factory=list)
    carried_on_to: list[StageWord] = Field(default_factory=list)
    lasting: Literal["transient", "persistent"] = "persistent"
    words: str = ""


class Divergence(_Part):
    """The first difference of two runs: the one with the smallest (step, stage, occurrence)."""

    stage: StageWord
    step: int
    site: str
    kind: KindWord
    runs: list[str]
    lasting: Literal["transient", "persistent"] = "persistent"
    words: str = ""


class Benign(_Part):
    """A difference that affected neither values of the model nor its results. `phase`: where it was seen. `drawn_from`: whether it is the
    state of generators from which the program draws. `cause`, `at`: why an evaluation differs, as a cause word, and the source lines."""

    stage: StageWord
    step: int
    site: str
    kind: KindWord
    runs: list[str]
    lasting: Literal["transient", "persistent"] = "persistent"
    words: str = ""
    phase: Literal["train", "eval"] = "train"
    drawn_from: bool = False
    cause: str = ""
    at: list[str] = Field(default_factory=list)


class Machine(_Part):
    """The results of one machine. `repeats_itself`: whether its twins agree; null: twins are missing."""

    runs: list[str]
    repeats_itself: bool | None = None
    environments: list[str] = Field(default_factory=list)
    cpu_model: str = ""
    known_answers: str = ""  # class of its results in the known-answer test; empty: not tested
    gpus: list[str] = Field(default_factory=list)


class Coverage(_Part):
    """The compared stages and steps. A stage that is not in `stages` was not compared and may differ."""

    stages: list[StageWord] = Field(default_factory=list)
    not_observed: list[StageWord] = Field(default_factory=list)
    unobserved: list[str] = Field(default_factory=list)
    steps: list[int | None] = Field(default_factory=lambda: [0, None])
    comparable_up_to: StageWord | None = None
    level: str = ""
    scheme: str = ""


class Emulated(_Part):
    """An environment that emulates other hardware."""

    environment: str
    emulates: dict[str, str]


class MeasuredElements(_Part):
    """Two values, compared element by element (comparison/sizes/elements.py). `every`: each how-manieth element was kept; 1: all.

    `differing`: how many of `compared` elements differ. `ulp_min`, `ulp_median`, `ulp_max`: by how many units in the last place of the
    type, for integers by how much. `one_bit`: exactly one bit of one element differs. `rows`: ranges [first, last] of leading indices
    with differing elements. `special`: elements that are NaN or infinite on one side only. `scale`: the right value is the left one
    times this. `rounded_to`: one side (`rounded_side`) has only the mantissa bits of this type."""

    pattern: PatternWord
    dtype: str
    shape: list[int]
    total: int
    compared: int
    differing: int
    every: int = 1
    ulp_min: int | None = None
    ulp_median: float | None = None
    ulp_max: int | None = None
    one_bit: bool = False
    rows: list[tuple[int, int]] = Field(default_factory=list)
    rows_differing: int = 0
    rows_total: int = 0
    relative_max: float | None = None
    relative: float | None = None
    special: int = 0
    scale: float | None = None
    rounded_to: ShortTypeWord | None = None
    rounded_side: SideWord = ""

    @property
    def few_ulps(self) -> bool:
        """Whether every differing element differs by a few units in the last place."""
        return self.ulp_max is not None and not self.special and self.ulp_max <= FEW_ULPS


class MeasuredChange(_Part):
    """How two runs changed a value, such as a weight, from the same state. `ratio`: length of the second change relative to the first.

    `proportional`: the second change is the first times `ratio`. `cosine`: of the angle between the changes. `relative`: length of
    their difference relative to the longer one."""

    ratio: float | None = None
    cosine: float | None = None
    proportional: bool = False
    relative: float | None = None


class Zoom(_Part):
    """The result of rerunning the first diverging step at level `op`. `op` null: no operation could be named, for the reason in `words`.

    `at`: source lines, one if both runs have the same. `relative`: size of the difference relative to the value, estimated. `ulp`: the
    same in units in the last place. `inputs_equal`: whether what the operation takes is equal, arguments included; null: only one run has
    the operation, or none differs. `known_to_race`: the operation is in torch's list of those that may give other results in each run.
    `elements`, `change`: the exact difference of the values; null: they were not kept, and whether it is rounding is unknown."""

    step: int
    level: str
    runs: list[str]
    op: str | None = None
    stage: StageWord | None = None
    site: str = ""
    at: list[str] = Field(default_factory=list)
    relative: float | None = None
    ulp: float | None = None
    inputs_equal: bool | None = None
    known_to_race: bool = False
    elements: MeasuredElements | None = None
    change: MeasuredChange | None = None
    words: str


class AgreementMap(_Part):
    """The steps in which two runs agree. `stages`: stage -> ranges of steps [first, last, "equal" | "different" | "one-sided"].
    `loss`: [step, relative difference; null: only one side is NaN or infinite]."""

    runs: list[str]
    stages: dict[StageWord, list[tuple[int, int, Literal["equal", "different", "one-sided"]]]]
    loss: list[tuple[int, float | None]] = Field(default_factory=list)


class ComparedRun(_Part):
    """What one run was. `wall_s`: how long it took; 0: unknown. `beside`: the largest number of other runs that trained on its machine
    at the same time. `versions`: of python, torch, cuda, cudnn and detctl, as far as known.
    `chains`: stage -> digest of all that rank 0 recorded of it while training."""

    label: str
    run_id: str
    created_unix_s: float = 0.0
    wall_s: float = 0.0
    beside: int = 0
    machine: str = ""
    host: str = ""
    command: list[str] = Field(default_factory=list)
    commit: str = ""
    source_digest: str = ""
    versions: dict[str, str] = Field(default_factory=dict)
    chains: dict[StageWord, str] = Field(default_factory=dict)


class Continuation(_Part):
    """One run continues another: it starts with the weights that the other had before `step`. Steps are those of the other run.

    `restored`, `not_restored`: states of the training, such as `weights`, `optimizer`, `schedule`, `torch` (its generator), `order`; what
    cannot be seen is in neither. `loaded_at`: the lines that restored something. `options`: options of the commands that differ."""

    run: str
    of: str
    step: int
    restored: list[str] = Field(default_factory=list)
    not_restored: list[str] = Field(default_factory=list)
    evidence: list[str] = Field(default_factory=list)
    loaded_at: list[str] = Field(default_factory=list)
    options: list[str] = Field(default_factory=list)
    words: str = ""


class CheapestFix(_Part):
    """The smallest set of settings that experiments tried. `suffices`: whether it alone makes the runs equal.

    `cost_percent`: increase of the step time, for the configuration that slows down most; null: not measured."""

    set: dict[str, str]
    suffices: bool
    cost_percent: float | None = None
    steps: int = 0
    words: str


class FileDifference(_Part):
    """A data file that two runs read and in which they differ. `kind`: `content` (one name, other content), `moved` (its content has
    `other_name` in the second run), `one-sided` (only one run read it). `bytes`, `digests` (BLAKE2b, 16 bytes) and `paths` are those
    of the first and of the second run; empty: not measured. `offset`: the first byte that differs, if the reader of the verdict has
    both files."""

    name: str
    kind: Literal["content", "moved", "one-sided"]
    runs: list[str]
    bytes: list[int | None] = Field(default_factory=list)
    digests: list[str] = Field(default_factory=list)
    paths: list[str] = Field(default_factory=list)
    other_name: str = ""
    offset: int | None = None


FactorOutcome = Literal["acts", "excluded", "not-separated", "no-op", "no-result"]


class TestedSetting(_Part):
    """The result of experiments with one setting. `scope`: whether twins or configurations were compared. `effective`: whether the runs
    reported that the setting was in effect. `not_separated_from`: settings that have the same effect. `acts_with`: settings without
    which it does not act. `runs`: runs of the trial that shows it. `at`: the difference of twins from which it is excluded."""

    setting: str
    value: str
    scope: str
    outcome: FactorOutcome
    effective: bool
    not_separated_from: list[str] = Field(default_factory=list)
    acts_with: list[str] = Field(default_factory=list)
    runs: int = 0
    at: str = ""
    words: str = ""


class Failure(_Part):
    """Why the training of a run failed. `signal`: the name of the signal that ended it. `original`: where a missing file lies in the
    folder of which the run got a copy. `tail`: the last lines of its own output."""

    run: str
    kind: FailureKind
    exit_code: int = 0
    signal: str = ""
    module: str = ""
    file: str = ""
    original: str = ""
    interpreter: str = ""
    tail: list[str] = Field(default_factory=list)


class Verdict(_Part):
    """The verdict on the runs of an audit, or on two runs. `summary`: the verdict as plain lines for people, without markup.

    `updates_equal`: how many updates of the training agree in all compared runs; null: some differ or were not recorded in every step.
    `strict`: whether differences in evaluation count although the training agrees."""

    schema_: Literal["detctl.verdict/v1"] = Field(default=SCHEMA, alias="schema")
    audit: str
    recipe: str
    outcome: OutcomeWord
    origin: OriginWord | None = None
    not_separated: list[OriginWord] = Field(default_factory=list)
    causes: list[Cause] = Field(default_factory=list)
    groups: list[list[str]] = Field(default_factory=list)
    groups_by_stage: dict[StageWord, list[list[str]]] = Field(default_factory=dict)
    first_divergence: Divergence | None = None
    continuation: Continuation | None = None
    benign: list[Benign] = Field(default_factory=list)
    updates_equal: int | None = None
    strict: bool = False
    machines: dict[str, Machine] = Field(default_factory=dict)
    unverified_because: list[str] = Field(default_factory=list)
    failures: list[Failure] = Field(default_factory=list)
    stopped_by: str = ""  # label of the failed run that stopped the audit; the other runs were cancelled
    coverage: Coverage = Field(default_factory=Coverage)
    emulated: list[Emulated] = Field(default_factory=list)
    explained: bool = False  # whether experiments were requested and have finished
    experiments: list[dict[str, Any]] = Field(default_factory=list)
    tested: list[TestedSetting] = Field(default_factory=list)
    cheapest_fix: CheapestFix | None = None
    maps: list[AgreementMap] = Field(default_factory=list)
    environment: dict[str, dict[str, str]] = Field(default_factory=dict)
    losses: dict[str, list[tuple[int, float | None]]] = Field(default_factory=dict)
    runs: list[ComparedRun] = Field(default_factory=list)
    sources: dict[str, list[str]] = Field(default_factory=dict)
    files: list[FileDifference] = Field(default_factory=list)
    requested_by: str = ""
    self_test: dict[str, Any] | None = None
    expected: list[dict[str, Any]] = Field(default_factory=list)
    zoom: Zoom | None = None
    notes: list[str] = Field(default_factory=list)
    summary: list[str] = Field(default_factory=list)

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    def to_json(self) -> str:
        """Returns one line of JSON, with keys as in the schema and without credentials."""
        return json.dumps(redact_document(self.to_dict()), ensure_ascii=True)

    def to_dict(self) -> dict[str, Any]:
        """Returns JSON values, with keys as in the schema."""
        return self.model_dump(mode="json", by_alias=True)

    @classmethod
    def from_json(cls, text: str) -> Verdict:
        """Returns the verdict of a JSON text. Raises pydantic.ValidationError if it is not a verdict of this version."""
        return cls.model_validate_json(text)

    @property
    def exit_code(self) -> int:
        """0: identical, 1: different, 3: unverified."""
        return EXIT_CODES[self.outcome]


def json_schema() -> str:
    """Returns the published JSON Schema. It allows unknown keys, because later versions of v1 may add some."""
    schema = Verdict.model_json_schema(by_alias=True, mode="serialization")
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["$id"] = SCHEMA
    for part in (schema, *schema.get("$defs", {}).values()):
        if part.get("additionalProperties") is False:
            del part["additionalProperties"]
    return json.dumps(schema, indent=2, ensure_ascii=True) + "\n"


if __name__ == "__main__":
    sys.stdout.write(json_schema())
