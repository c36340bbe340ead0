"""Assigns the processes of a run to ranks, and turns their frames into messages for the spool. No I/O.

A process becomes a training process with its first record of init, forward, loss, backward or update. Its records are held back
until then, and until its rank is known (by its FACTS, or its first finished step). Its rank is that of torch.distributed, else
RANK, else 0; a second training process of the same rank gets the next free number after the world's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from detctl_probe.transport import frames
from detctl_probe.transport.frames import ProtocolError
from detctl_proto.limits import RANK_MAX
from detctl_proto.security.redaction import redact_document
from detctl_proto.v1 import agents_pb2

from detctl_agent.recording.folding import seal_mismatch
from detctl_agent.recording.observed import LAST_STAGE, Observed
from detctl_agent.recording.process import Process, rank_in
from detctl_agent.recording.records import Identities, Record, RecordParser, json_object
from detctl_agent.recording.redacted_records import CODE, redacted_hello, redacted_record
from detctl_agent.recording.seals import seal_detail, seal_of
from detctl_agent.recording.segments import Origin, SegmentPacker
from detctl_agent.recording.training_times import TrainingTimes

TRAINING_STAGES = frozenset(frames.STAGE_NUMBERS[name] for name in frames.TRAINING_STAGES)
HELD_BYTES_MAX = 96 * 1024 * 1024  # of a process that has not trained yet
HELD_BYTES_TOTAL = 256 * 1024 * 1024  # of all such processes of a training
STEP_BYTES = 48  # of a finished step that is held back: a number in a list
KEPT_BYTES_TOTAL = 256 * 1024 * 1024  # of HELLO, FACTS and NOTE frames of all processes
NOTES_MAX = 1000  # a process
NOTES_BYTES_MAX = 1024 * 1024  # a process
FACTS_MAX = 64  # frames of facts a process
PROCESSES_MAX = 4096
ENDING_REASONS = frozenset(("window", "stop"))

Message = agents_pb2.IngestRequest


class Ranks:
    """All processes of one run. Every method returns the messages that must go into the spool, in order."""

    def __init__(self, run_id: str, attempt: int, level: str, clock: Callable[[], float]) -> None:
        self._run_id, self._attempt, self._level, self._clock = run_id, attempt, level, clock
        self._processes: list[Process] = []
        self._by_rank: dict[int, Process] = {}
        self._identities = Identities()
        self._held_bytes = self._kept_bytes = 0
        self._lost = ""  # why no rank of this run can be complete
        self.observed = Observed()
        self.times = TrainingTimes()

    # -- what happened ------------------------------------------------------------------------------------------------
    def connect(self) -> Process:
        """Adds a process that has connected. Raises ProtocolError beyond the limit."""
        if len(self._processes) >= PROCESSES_MAX:
            raise ProtocolError(f"more than {PROCESSES_MAX} processes")
        process = Process(parser=RecordParser(self._identities))
        self._processes.append(process)
        return process

    def frame(self, process: Process, kind: int, payload: bytes) -> list[Message]:
        """Takes one frame. Raises ProtocolError if it is not allowed."""
        if not process.hello and kind != frames.HELLO:
            raise ProtocolError("a first frame that is not HELLO")
        if process.sealed:
            return []
        if kind == frames.RECORDS:
            return self._records(process, payload)
        if kind == frames.STEP:
            step, _ = frames.unpack_step(payload)
            self.times.step_ended(self._clock())
            return self._step(process, step)
        if kind == frames.IMPORTED:
            process.imported = True
            times = json_object(payload) if payload else {}
            self.times.imported(times.get("began_at"), times.get("ended_at"))
            return []
        if kind == frames.HELLO:
            self._keep(len(payload))
            process.hello = redacted_hello(json_object(payload)) or {"v": 0}
            if process.hello.get("scheme", frames.SCHEME) != frames.SCHEME:
                process.trouble = (
                    f"digests of scheme {str(process.hello['scheme'])[:40]}, this agent knows {frames.SCHEME}"
                )
            return []
        return self._document(process, kind, payload)

    def _document(self, process: Process, kind: int, payload: bytes) -> list[Message]:
        # Importing pydantic takes a quarter of a second: here it happens while the training starts, not before.
        from detctl_agent.recording.probe_documents import Facts, Note, Seal, read

        if kind == frames.NOTE:
            process.notes_bytes += len(payload)
            if len(process.notes) < NOTES_MAX and process.notes_bytes <= NOTES_BYTES_MAX:
                self._keep(len(payload))
                process.notes.append(redact_document(read(Note, payload)))
                self.observed.place(process.notes[-1])
        elif kind == frames.FACTS:
            process.facts_frames += 1
            if process.facts_frames <= FACTS_MAX:
                self._keep(len(payload))
                process.facts.update(read(Facts, payload))
            return self._assign(process)
        elif kind == frames.SEAL:
            return self._seal(process, read(Seal, payload))
        return []  # a type of a newer probe

    def lose(self, why: str) -> None:
        """Some data of the training will never arrive, of an unknown rank: no rank that seals from now on is complete."""
        self._lost = self._lost or why

    def disconnect(self, process: Process, trouble: str = "") -> list[Message]:
        """Notes that the connection ended; a training process that has not sealed is lost."""
        if process.sealed:
            return []
        process.trouble = process.trouble or trouble
        messages = self._assign(process, force=True)
        if process.rank is None:
            process.sealed = "gone"
            self._let_held(process)
            return messages
        return messages + self._finish(process, "lost", {}, "the process ended without a seal")

    def flush(self, older_than: float | None = None) -> list[Message]:
        """Packs everything that waits, or what arrived before the time `older_than`."""
        return [
            message
            for process in self._by_rank.values()
            if process.packer and (older_than is None or process.packer.since <= older_than)
            for message in self._pack(process)
        ]

    # -- what is known ------------------------------------------------------------------------------------------------
    @property
    def count(self) -> int:
        """Training ranks seen."""
        return len(self._by_rank)

    @property
    def records(self) -> int:
        """Records of training ranks so far."""
        return sum(process.records for process in self._by_rank.values())

    @property
    def last_step(self) -> int | None:
        """The last step that every rank has finished, None before the first."""
        if not self._by_rank or any(process.steps_finished == 0 for process in self._by_rank.values()):
            return None
        return min(process.last_step for process in self._by_rank.values())

    @property
    def has_imported(self) -> bool:
        """Whether a process has finished `import torch`."""
        return any(process.imported or process.training for process in self._processes)

    @property
    def over(self) -> str:
        """`window` or `stop`, once every rank on this node has sealed and one of them for that reason; empty until then."""
        reasons = [process.sealed for process in self._by_rank.values()]
        if not reasons or not all(reasons) or len(reasons) < self._world - self.elsewhere:
            return ""
        return next((reason for reason in sorted(reasons, reverse=True) if reason in ENDING_REASONS), "")

    @property
    def _world(self) -> int:
        return max((process.number("world_size") for process in self._by_rank.values()), default=0)

    @property
    def elsewhere(self) -> int:
        """How many ranks of the world train on other nodes, by torchrun's LOCAL_WORLD_SIZE; 0 if that is not set."""
        here = max((process.number("local_world_size") for process in self._by_rank.values()), default=0)
        return max(0, self._world - here) if here else 0

    @property
    def facts(self) -> dict[str, Any]:
        """Facts of the lowest rank about torch and its threads; empty if no probe worked."""
        for _, process in sorted(self._by_rank.items()):
            if process.facts:
                return process.facts
        return next((process.facts for process in self._processes if process.facts), {})

    @property
    def cost(self) -> dict[str, Any]:
        """`share` and `budget` of the lowest rank's seal, which describe the probe's own cost; empty before it."""
        return next((process.cost for _, process in sorted(self._by_rank.items()) if process.cost), {})

    @property
    def troubles(self) -> list[str]:
        """`rank 0: …` for each rank that is not complete."""
        return [f"rank {rank}: {process.trouble}" for rank, process in sorted(self._by_rank.items()) if process.trouble]

    @property
    def variables_read(self) -> tuple[str, ...]:
        """Names of the variables that the training's own code read, in any of its processes."""
        names = (note.get("name") for note in self.notes_of_kind("variable"))
        return tuple(sorted({name for name in names if isinstance(name, str)}))

    def notes_of_kind(self, kind: str) -> Iterator[dict[str, Any]]:
        """Notes of all processes."""
        for process in self._processes:
            yield from (note for note in process.notes if note.get("kind") == kind)

    @property
    def processes(self) -> int:
        """Number of processes in which a probe reported."""
        return sum(1 for process in self._processes if process.hello)

    # -- inside -------------------------------------------------------------------------------------------------------
    def _keep(self, size: int) -> None:
        self._kept_bytes += size
        if self._kept_bytes > KEPT_BYTES_TOTAL:
            raise ProtocolError(f"more notes and facts than the agent keeps of a training ({KEPT_BYTES_TOTAL} bytes)")

    def _records(self, process: Process, payload: bytes) -> list[Message]:
        found = process.parser.parse(payload)
        if not found:
            return []
        if found[0].sequence != process.sequence or found[-1].sequence != process.sequence + len(found) - 1:
            process.trouble = process.trouble or f"records are missing before number {found[0].sequence}"
        process.sequence = found[-1].sequence + 1
        if process.rank is not None:
            return self._take(process, found)
        if not process.training:
            process.training = any(record.stage in TRAINING_STAGES for record in found)
        if process.held_bytes + len(payload) > HELD_BYTES_MAX or self._held_bytes + len(payload) > HELD_BYTES_TOTAL:
            process.trouble = process.trouble or "more records before the first training step than the agent holds back"
        else:
            process.held.append(found)
            process.held_bytes += len(payload)
            self._held_bytes += len(payload)
        return self._assign(process)

    def _step(self, process: Process, step: int) -> list[Message]:
        if process.rank is None:
            process.held.append(step)
            process.held_bytes += STEP_BYTES
            self._held_bytes += STEP_BYTES
            if self._held_bytes > HELD_BYTES_TOTAL:
                raise ProtocolError("more steps before the first record of a training than the agent holds back")
            return self._assign(process, force=True)
        return self._close_step(process, step)

    def _close_step(self, process: Process, step: int) -> list[Message]:
        process.last_step = max(process.last_step, step)
        process.steps_finished += 1
        process.as_sent.close(step)
        entries = process.folding.close(step)
        packer = process.packer
        assert packer is not None
        if not entries:
            return []
        if not packer:
            packer.since = self._clock()
        packer.close(entries)
        return self._pack(process) if packer.full else []

    def _take(self, process: Process, found: list[Record]) -> list[Message]:
        messages: list[Message] = []
        packer, take = process.packer, process.folding.take
        assert packer is not None
        for record in found:
            if record.stage == CODE:
                process.as_sent.take(record)
            record = redacted_record(record)
            if record.stage <= LAST_STAGE:
                self.observed.add(record)
            closed = take(record)
            if not packer:
                packer.since = self._clock()
            if closed is not None:
                packer.close([closed])
            packer.add(record)
            if packer.full:
                messages += self._pack(process)
        process.records += len(found)
        return messages

    def _assign(self, process: Process, *, force: bool = False) -> list[Message]:
        """Gives a training process its rank as soon as it is known, and processes what was held back."""
        if process.rank is not None or not process.training or not (process.facts or force):
            return []
        rank = next((value for value in (rank_in(process.facts), rank_in(process.hello)) if value is not None), 0)
        if rank in self._by_rank:
            world = max(other.number("world_size") for other in [process, *self._by_rank.values()])
            rank = next(number for number in range(max(1, world), RANK_MAX * 2) if number not in self._by_rank)
        process.rank = rank
        self._by_rank[rank] = process
        process.packer = SegmentPacker(Origin(self._run_id, self._attempt, rank, frames.SCHEME, self._level))
        messages: list[Message] = []
        for item in self._let_held(process):
            messages += self._close_step(process, item) if isinstance(item, int) else self._take(process, item)
        return messages

    def _let_held(self, process: Process) -> list[list[Record] | int]:
        """Removes and returns what was held back of a process."""
        self._held_bytes -= process.held_bytes
        held, process.held, process.held_bytes = process.held, [], 0
        return held

    def _seal(self, process: Process, seal: dict[str, Any]) -> list[Message]:
        facts = seal.get("facts")
        if isinstance(facts, dict):
            process.facts.update(facts)
        reported = rank_in(seal)
        if reported is not None:
            process.facts["rank"] = reported
            process.facts.setdefault("world_size", seal.get("world_size"))
        process.cost = {key: seal[key] for key in ("share", "budget") if isinstance(seal.get(key), dict)}
        reason = seal.get("reason")
        reason = reason if reason in ("window", "stop", "exit", "os._exit") else "exit"
        messages = self._assign(process, force=True)
        if process.rank is None:
            process.sealed = reason
            self._let_held(process)
            return messages
        for key in ("last_step", "steps_finished"):
            if isinstance(seal.get(key), int) and seal[key] != getattr(process, key) and process.steps_finished:
                process.trouble = (
                    process.trouble or f"{key} {getattr(process, key)} arrived, the probe sealed {seal[key]}"
                )
        if isinstance(seal.get("sequence"), int) and seal["sequence"] != process.sequence:
            process.trouble = process.trouble or f"{process.sequence} records arrived of {seal['sequence']}"
        return messages + self._finish(process, reason, seal, "")

    def _finish(self, process: Process, reason: str, seal: dict[str, Any], trouble: str) -> list[Message]:
        packer, folding = process.packer, process.folding
        assert packer is not None
        if reason != "lost":  # the current step of a lost rank stays open: half a step would look like a difference
            process.as_sent.close()
            packer.close(folding.close())
        messages = self._pack(process) if packer else []
        streams = seal.get("streams")
        process.trouble = process.trouble or self._lost
        if folding.late:
            process.trouble = process.trouble or f"{folding.late} records came after their step was closed"
        if not process.trouble:
            process.trouble = trouble or seal_mismatch(process.sent(), streams if isinstance(streams, dict) else {})
        process.sealed = reason
        detail = seal_detail(process, seal, self._notes_of_others(process), self._processes)
        messages.append(Message(seal=seal_of(process, self._run_id, self._attempt, detail)))
        return messages

    def _notes_of_others(self, process: Process) -> list[dict[str, Any]]:
        """Notes of workers and launchers. They have no seal of their own: their notes go into the seal of the rank that seals first."""
        notes: list[dict[str, Any]] = []
        for other in self._processes:
            if other is not process and other.is_helper and not other.notes_sent:
                other.notes_sent = True
                notes += other.notes
        return notes

    @staticmethod
    def _pack(process: Process) -> list[Message]:
        packer = process.packer
        assert packer is not None
        return [Message(segment=packer.pack())]
