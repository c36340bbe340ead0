"""The verdict as others read it, schema `detctl.verdict/v1`. Keys may be added within v1, and never change (docs/adr/0022).

`python -m detctl_coordinator.domain.verdict` prints the JSON Schema that is published as docs/verdict.schema.json.
"""

from __future__ import annotations

import json
import sys
from typing import Any, Literal

from detctl_proto.redaction import redact_document
from detctl_proto.verdict_words import EXIT_CODES, KindWord, OriginWord, OutcomeWord, StageWord
from pydantic import BaseModel, ConfigDict, Field

from detctl_coordinator.domain.clue import Clue

SCHEMA: Literal["detctl.verdict/v1"] = "detctl.verdict/v1"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Cause(_Part):
    """Why two runs differ. `cause` is a word of docs/causes.md; `runs`: the two that show it; `change`: the fix as a diff.

    `evidence`, `caveats` and `fix` are sentences for people; `clues`, `fix_settings` and `fix_at` are what they rest on, as data.
    `caveats`: what an experiment would still have to separate. `fix_settings`: keys of the manifest (`variables.TZ`,
    `recipe.parameters.workers`) that the fix makes equal; `fix_at`: file and line that it changes."""

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
    """The first difference of two runs: the least (step, stage, occurrence)."""

    stage: StageWord
    step: int
    site: str
    kind: KindWord
    runs: list[str]
    lasting: Literal["transient", "persistent"] = "persistent"
    words: str = ""


class Benign(_Part):
    """A difference that reached neither values of the model nor its results."""

    stage: StageWord
    step: int
    site: str
    kind: KindWord
    runs: list[str]
    lasting: Literal["transient", "persistent"] = "persistent"
    words: str = ""


class Machine(_Part):
    """What the verdict says about one machine: its runs, and whether they repeat each other (null: not tested by twins)."""

    runs: list[str]
    repeats_itself: bool | None = None
    environments: list[str] = Field(default_factory=list)
    cpu_model: str = ""
    known_answers: str = ""  # class of what it computes for inputs that are the same everywhere; empty: not asked
    gpus: list[str] = Field(default_factory=list)


class Coverage(_Part):
    """What was looked at. A stage that is not in `stages` was not compared: unobserved is not equal."""

    stages: list[StageWord] = Field(default_factory=list)
    not_observed: list[StageWord] = Field(default_factory=list)
    unobserved: list[str] = Field(default_factory=list)
    steps: list[int | None] = Field(default_factory=lambda: [0, None])
    comparable_up_to: StageWord | None = None
    level: str = ""
    scheme: str = ""


class Emulated(_Part):
    """An environment that stands in for other hardware."""

    environment: str
    emulates: dict[str, str]


class Zoom(_Part):
    """What a second look at level `op` showed of the first diverging step. `op` null: no operation could be named, `words` says why.

    `at`: source lines, one where both runs name the same. `relative`: size of the difference over the size of the value;
    `ulp`: the same in units of the last place."""

    step: int
    level: str
    runs: list[str]
    op: str | None = None
    stage: StageWord | None = None
    site: str = ""
    at: list[str] = Field(default_factory=list)
    relative: float | None = None
    ulp: float | None = None
    words: str


class AgreementMap(_Part):
    """Where two runs agree: stage -> runs of steps [first, last, "equal" | "different" | "one-sided"]; `loss`: [step, relative size of the
    difference, null where one side alone is NaN or infinite]."""

    runs: list[str]
    stages: dict[StageWord, list[tuple[int, int, Literal["equal", "different", "one-sided"]]]]
    loss: list[tuple[int, float | None]] = Field(default_factory=list)


class CheapestFix(_Part):
    """The smallest set of settings that was seen to restore equality.

    `cost_percent`: of step time, on the arm that pays most; null: not measured."""

    set: dict[str, str]
    suffices: bool
    cost_percent: float | None = None
    steps: int = 0
    words: str


class Verdict(_Part):
    """See the module's text. `summary` is for people: one line each, no markup."""

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
    benign: list[Benign] = Field(default_factory=list)
    machines: dict[str, Machine] = Field(default_factory=dict)
    unverified_because: list[str] = Field(default_factory=list)
    coverage: Coverage = Field(default_factory=Coverage)
    emulated: list[Emulated] = Field(default_factory=list)
    explained: bool = False  # whether experiments were asked for and are over
    experiments: list[dict[str, Any]] = Field(default_factory=list)
    cheapest_fix: CheapestFix | None = None
    maps: list[AgreementMap] = Field(default_factory=list)
    environment: dict[str, dict[str, str]] = Field(default_factory=dict)
    self_test: dict[str, Any] | None = None
    expected: list[dict[str, Any]] = Field(default_factory=list)
    zoom: Zoom | None = None
    notes: list[str] = Field(default_factory=list)
    summary: list[str] = Field(default_factory=list)

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    def to_json(self) -> str:
        """One line of JSON, keys as in the schema; without credentials."""
        return json.dumps(redact_document(self.to_dict()), ensure_ascii=True)

    def to_dict(self) -> dict[str, Any]:
        """JSON values, keys as in the schema."""
        return self.model_dump(mode="json", by_alias=True)

    @classmethod
    def from_json(cls, text: str) -> Verdict:
        """Raises pydantic.ValidationError on anything that is not a verdict of this version."""
        return cls.model_validate_json(text)

    @property
    def exit_code(self) -> int:
        """0 identical, 1 different, 3 unverified."""
        return EXIT_CODES[self.outcome]


def json_schema() -> str:
    """The published JSON Schema. Consumers may meet keys that a later v1 adds, so it allows more than it lists."""
    schema = Verdict.model_json_schema(by_alias=True, mode="serialization")
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["$id"] = SCHEMA
    for part in (schema, *schema.get("$defs", {}).values()):
        if part.get("additionalProperties") is False:
            del part["additionalProperties"]
    return json.dumps(schema, indent=2, ensure_ascii=True) + "\n"


if __name__ == "__main__":
    sys.stdout.write(json_schema())
