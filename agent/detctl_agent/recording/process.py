"""One process of a run, as its connection shows it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from detctl_proto.limits import RANK_MAX

from detctl_agent.recording.folding import RankFolding, Total
from detctl_agent.recording.records import Record, RecordParser
from detctl_agent.recording.redacted_records import CODE
from detctl_agent.recording.segments import SegmentPacker


@dataclass
class Process:
    """One connection: one process of the run."""

    hello: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    notes: list[dict[str, Any]] = field(default_factory=list)
    parser: RecordParser = field(default_factory=RecordParser)
    sequence: int = 0  # the next one that must come
    training: bool = False
    imported: bool = False  # torch
    rank: int | None = None
    held: list[list[Record] | int] = field(default_factory=list)  # records and finished steps, in order
    held_bytes: int = 0
    trouble: str = ""  # why the rank cannot be complete
    folding: RankFolding = field(default_factory=RankFolding)
    # Stage code as it arrived, before redaction, because the probe's seal counts it so.
    as_sent: RankFolding = field(default_factory=RankFolding)
    packer: SegmentPacker | None = None
    last_step: int = 0
    steps_finished: int = 0
    records: int = 0
    sealed: str = ""  # the reason, once sealed
    notes_sent: bool = False
    notes_bytes: int = 0
    facts_frames: int = 0
    cost: dict[str, Any] = field(default_factory=dict)  # `share` and `budget` of its seal

    @property
    def pid(self) -> int:
        value = self.hello.get("pid")
        return value if isinstance(value, int) else 0

    @property
    def is_helper(self) -> bool:
        """Whether it has not trained: a worker, a launcher."""
        return self.rank is None and not self.training

    def number(self, name: str) -> int:
        """A number of ranks that the process reported; the value of torch.distributed counts more than the variables."""
        for source in (self.facts, self.hello):
            value = source.get(name)
            if isinstance(value, int) and 0 < value < RANK_MAX:
                return value
        return 0

    def sent(self) -> list[Total]:
        """The totals of what the probe sent."""
        redacted = [total for total in self.folding.totals() if total.stage != CODE]
        return [*self.as_sent.totals(), *redacted]


def rank_in(facts: dict[str, Any]) -> int | None:
    """The rank that HELLO, FACTS or a seal names; None: none does."""
    value = facts.get("rank")
    return value if isinstance(value, int) and 0 <= value < RANK_MAX else None
