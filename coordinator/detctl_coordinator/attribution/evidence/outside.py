"""What user code took from outside the training: reads, commands, queries and files' times that differ between the runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from detctl_coordinator.attribution.evidence.facts import Note, place
from detctl_coordinator.attribution.evidence.pair_evidence import Evidence

READ, COMMAND, QUERY, TIMES, UNFILLED = "outside", "command", "query", "file-times", "uninitialised"
# Sources that give another value in every process. The others differ only if the values that were read differ.
ALWAYS_DIFFERS = ("clock", "process", "address", "temporary", "entropy", "load")
NAMES = {
    "clock": "the clock",
    "process": "the process id",
    "address": "the address of an object",
    "folder": "the folder's path",
    "home": "the home folder",
    "host": "the host",
    "user": "the user's name",
    "processors": "the number of processors",
    "temporary": "the name of a temporary file",
    "entropy": "the system's entropy",
    "load": "the machine's load",
}
VALUE, CONTROL = "value", "control"
IDENTITY = "identity"  # the intervention that freezes these
FROZEN = ("clock", "process", "host")


@dataclass(frozen=True)
class Pairing:
    """The notes of both runs about one line."""

    left: Note
    right: Note

    def differs(self, key: str) -> bool:
        """Returns whether both runs noted a field and the two differ."""
        ours, theirs = self.left.raw.get(key), self.right.raw.get(key)
        return ours is not None and theirs is not None and ours != theirs

    def equal(self, key: str) -> bool:
        ours = self.left.raw.get(key)
        return ours is not None and ours == self.right.raw.get(key)


@dataclass(frozen=True)
class OutsideRead:
    """A line that reads a source whose value differs. `use`: VALUE, CONTROL, or empty if the value was not followed."""

    note: Note
    source: str
    use: str
    values: tuple[str, str] | None

    @property
    def description(self) -> str:
        """Such as `The folder's path is read at train.py:16 (Path.resolve) and used at train.py:17: /a vs /b.`"""
        raw = self.note.raw
        name = NAMES.get(self.source, self.source)
        more = f" and used at {self.where}" if self.use and self.where != self.note.where else ""
        values = f": {self.values[0]} vs {self.values[1]}" if self.values else ""
        return f"{name[:1].upper()}{name[1:]} is read at {self.note.where} ({raw.get('call')}){more}{values}."

    @property
    def line(self) -> str:
        """The user's line that uses the value; else the line that reads it."""
        return str(self.note.raw.get("used_code") if self.use else "") or str(self.note.raw.get("code") or "")

    @property
    def where(self) -> str:
        """`train.py:17` of that line."""
        raw = self.note.raw
        return place({"file": raw.get("used_in"), "line": raw.get("used_at")}) if self.use else self.note.where


def reads_that_differ(evidence: Evidence) -> list[OutsideRead]:
    """Returns the reads before the root's end whose value differs, those with a known use first."""
    found = []
    for pairing in _pairings(evidence, READ, "source"):
        raw = pairing.left.raw
        source = str(raw.get("source") or "")
        if source in FROZEN and all(
            IDENTITY in one.run.spec.interventions for one in (evidence.pair.left, evidence.pair.right)
        ):
            continue  # an experiment gave both runs the same
        values = (
            (str(raw["value"]), str(pairing.right.raw["value"]))
            if "value" in raw and pairing.differs("value")
            else None
        )
        if source in ALWAYS_DIFFERS:
            values = None
        elif values is None:
            continue
        found.append(OutsideRead(pairing.left, source, str(raw.get("use") or ""), values))
    return sorted(found, key=lambda read: (VALUE, CONTROL, "").index(read.use))


def commands_that_differ(evidence: Evidence) -> list[Pairing]:
    """Returns the commands whose output differs between the runs."""
    return [p for p in _pairings(evidence, COMMAND, "programs", "bytes") if p.differs("digest")]


def other_output(pairing: Pairing) -> str:
    """Returns a line about a command whose output differs."""
    note = pairing.left
    what = "the same lines in another order" if pairing.equal("unordered") else "another output"
    return f"{programs_of(note)} at {note.where} gave the runs {what}."


def programs_of(note: Note) -> str:
    """Returns the programs of a command, such as `cat | shuf`."""
    return " | ".join(str(name) for name in note.raw.get("programs") or ()) or "a command"


def uses_of_output(evidence: Evidence, note: Note) -> list[OutsideRead]:
    """Returns where the source uses the output of a command that this note reports; empty: its use was not found."""
    reads = (
        n
        for n in evidence.notes(READ)
        if n.raw.get("source") == "output" and n.where == note.where and n.raw.get("use")
    )
    return [OutsideRead(read, "output", str(read.raw["use"]), None) for read in reads]


def drawing_commands(evidence: Evidence) -> list[Note]:
    """Returns the commands that draw at random, unless their output is known to be equal."""
    equal = {
        p.left.where for p in _pairings(evidence, COMMAND, "programs") if p.equal("digest") and p.left.raw["digest"]
    }
    notes = [note for note in evidence.notes(COMMAND) if note.raw.get("drawing") and note.where not in equal]
    return list({note.where: note for note in notes}.values())


def listing_commands(evidence: Evidence) -> list[Note]:
    """Returns the commands that print names in the order of the file system, and whose output was not seen."""
    seen = {note.where for note in evidence.notes(COMMAND) if note.raw.get("digest")}
    return _once(n for n in evidence.notes(COMMAND) if n.raw.get("unsorted") and n.where not in seen)


def drawing_queries(evidence: Evidence) -> list[Note]:
    """Returns the queries in which the database draws."""
    return _once(note for note in evidence.notes(QUERY) if note.raw.get("draws"))


def reordered_inserts(evidence: Evidence) -> list[Pairing]:
    """Returns the queries over a table whose rows were inserted in another order, and are the same rows."""
    return [p for p in _pairings(evidence, QUERY, "table") if p.differs("inserted") and p.equal("inserted_unordered")]


def unordered_queries(evidence: Evidence) -> list[Note]:
    """Returns the queries that leave the order of their rows to the database."""
    return _once(n for n in evidence.notes(QUERY) if not n.raw.get("ordered") and not n.raw.get("draws"))


def times_that_differ(evidence: Evidence) -> list[Pairing]:
    """Returns the lines that read times which put the same files in another order."""
    return [p for p in _pairings(evidence, TIMES, "names") if p.differs("by_time")]


def unfilled_memory(evidence: Evidence, name: str | None = None) -> list[Note]:
    """Returns the lines that make memory without content which the file does not fill. `name`: only memory that it names."""
    return _once(
        note
        for note in evidence.notes(UNFILLED)
        if note.raw.get("filled") != "filled" and (name is None or name in (note.raw.get("names") or ()))
    )


def _once(notes: Iterator[Note]) -> list[Note]:
    return list({note.where: note for note in notes}.values())


def _pairings(evidence: Evidence, kind: str, *keys: str) -> Iterator[Pairing]:
    """Yields the notes of both runs with the same place and the same fields `keys`; for commands also without `bytes`."""

    def key(note: Note) -> tuple[Any, ...]:
        return (note.where, *(str(note.raw.get(k)) for k in keys if k != "bytes"), "digest" in note.raw)

    early: Callable[[Note], bool] = lambda note: int(note.raw.get("step") or 0) <= evidence.root.step  # noqa: E731
    theirs = {key(note): note for note in reversed(evidence.right.note(kind)) if early(note)}
    for note in evidence.left.note(kind):
        if early(note) and key(note) in theirs:
            yield Pairing(note, theirs[key(note)])
