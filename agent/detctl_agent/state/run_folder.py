"""The folder of one run: `STATE/runs/<run id>.<attempt>/`, or the DIR of `detctl record -o DIR`, which other programs read.

    DIR/run.json         the run and how it ended (below); written at the start and again at the end
    DIR/manifest.json    the recorded facts (sections: coordinator domain/manifest.py)
    Both without credentials (detctl_proto/security/redaction). Folders are 0700 and files 0600.
    DIR/spool/log        what the probe sent, as messages of the contract (below)
    DIR/stdout, stderr   what the training printed

**spool/log** needs the contract alone to read:

    8 bytes    b"DETCTL\\x00\\x01"
    then, again and again:
      4 bytes  length of the payload, little-endian u32
      4 bytes  CRC-32 (zlib.crc32) over the four length bytes followed by the payload, little-endian u32
      payload  one serialized detctl.v1.IngestRequest: a segment or a seal, run_id and attempt as in run.json

In order of writing: a rank's segments by number from 0 without gaps, then its seal. A reader stops at the first record
that is cut or fails its CRC: everything before it is good, nothing after it may be used, and the reader must report it. A program that
imports the folder under another run id replaces run_id and attempt in each message; nothing else depends on them.

**run.json**

    {"schema": "detctl.run/v1", "run_id": "…", "attempt": 1, "audit_id": "",
     "label": "gpu1/default/base/twin-0", "machine": "gpu1", "environment": "default", "variation": "base", "twin": 0,
     "recipe": "…", "command": ["python", "train.py"], "folder": "/home/me/project", "parameters": {…}, "variables": {…},
     "interventions": {…},
     "level": "module", "step_from": 0, "step_to": 32 | null, "budget_share": 0.0,
     "state": "preparing" | "running" | "ended",
     "started_unix_s": 0.0, "ended_unix_s": null | 0.0, "wall_s": 0.0,
     "end": "" | "exit" | "window" | "stop" | "timeout" | "lost" | "cancelled" | "output-limit" | "disk-full",
     "exit_code": 0, "message": "one line", "ranks": 1, "ranks_elsewhere": 0, "records": 123, "last_step": 31 | null,
     "spool_records": 40, "spool_bytes": 12345, "noted": false,
     "failure": null | {"kind": "missing-module", "exit_code": 1, "signal": "", "module": "einops", "file": "", "original": "",
                        "interpreter": "/…/python", "tail": ["…"]},
     "timings": null | {"preparing": 0.1, "manifest": 0.4, "starting": 0.6, "importing": 3.1, "training": 5.2, …}, "beside": 0}

folder is the working folder of `detctl record`, empty for runs of recipes. timings: detctl_proto/recordings/run_timings.py.

exit_code is negative if a signal ended the training, 127 if it never started. spool_records and spool_bytes are those of an
ended run: a shorter log has lost data.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detctl_proto.files.private_files import make_private_folder, private
from detctl_proto.files.regular_file import RegularFileError, read_regular, read_tail
from detctl_proto.levels import DEFAULT_LEVEL
from detctl_proto.limits import OUTPUT_TAIL_CHARS_MAX
from detctl_proto.outside_json import JsonError, parse_object
from detctl_proto.recordings.run_documents import MANIFEST_BYTES_MAX, RUN_BYTES_MAX, RUN_SCHEMA
from detctl_proto.recordings.run_labels import BASE
from detctl_proto.security.redaction import redact_output, redact_text

from detctl_agent.errors import AgentError, DiskFullError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

OUTPUT_TAIL_BYTES = OUTPUT_TAIL_CHARS_MAX - 1024  # leaves room for headings
OUTPUT_OF_BYTES = 16 * 1024
FULL_BYTES = 64 * 1024
KEPT = ("run.json", "manifest.json", "stdout", "stderr", "written")  # what stays of a run whose end was noted


@dataclass
class RunJson:
    """The content of run.json; see the module's text."""

    run_id: str
    attempt: int = 1
    audit_id: str = ""
    label: str = ""
    machine: str = ""
    environment: str = "default"
    variation: str = BASE
    twin: int = 0
    recipe: str = ""
    command: list[str] = field(default_factory=list)
    folder: str = ""  # in which the command was given
    parameters: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    interventions: dict[str, str] = field(default_factory=dict)
    level: str = DEFAULT_LEVEL
    step_from: int = 0
    step_to: int | None = 32
    budget_share: float = 0.0
    state: str = "preparing"
    started_unix_s: float = 0.0
    ended_unix_s: float | None = None
    wall_s: float = 0.0
    end: str = ""
    exit_code: int = 0
    message: str = ""
    ranks: int = 0
    ranks_elsewhere: int = 0  # of the same training, on other nodes
    records: int = 0
    last_step: int | None = None
    spool_records: int = 0
    spool_bytes: int = 0
    noted: bool = False
    failure: dict[str, Any] | None = None  # why the training failed: the fields of runs/failure.py
    timings: dict[str, float] | None = None  # seconds by part: the fields of RunTimings
    beside: int = 0  # the largest number of other runs that trained here at the same time
    schema: str = RUN_SCHEMA


@cache
def _run_json() -> TypeAdapter[RunJson]:
    from pydantic import TypeAdapter  # its import takes a quarter of a second, and only an agent reads run.json

    return TypeAdapter(RunJson)


@dataclass(frozen=True)
class RunFolder:
    """Paths of one run. `root` need not exist before `create`.

    common_work: the place of the copy, if it is the same for all runs of a folder (`copies.py`)."""

    root: Path
    common_work: Path | None = None

    @property
    def work(self) -> Path:
        """Private copy of the recipe's folder: the training's working folder."""
        return self.common_work or self.root / "work"

    @property
    def written(self) -> Path:
        """What the training wrote into its private view, or the whole copy that it trained in; only if its recipe keeps it."""
        return self.root / "written"

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def tmp(self) -> Path:
        return self.root / "tmp"

    @property
    def out(self) -> Path:
        return self.root / "out"

    @property
    def caches(self) -> Path:
        """Caches of compiled kernels, empty at the start of each run."""
        return self.root / "cache"

    @property
    def probe(self) -> Path:
        """The staged probe: first on the training's PYTHONPATH."""
        return self.root / "probe"

    @property
    def given(self) -> Path:
        """Values that are transplanted into the run."""
        return self.root / "given"

    @property
    def spool(self) -> Path:
        return self.root / "spool"

    @property
    def stdout(self) -> Path:
        return self.root / "stdout"

    @property
    def stderr(self) -> Path:
        return self.root / "stderr"

    def create(self) -> None:
        """Makes the folder (0700) and its spool. Raises DiskFullError or AgentError."""
        try:
            for folder in (self.root, self.spool):
                make_private_folder(folder)
        except OSError as error:
            raise disk_error(error, self.root) from error

    def make_private(self) -> None:
        """Makes home, tmp and out of the training, empty."""
        try:
            for folder in (self.home, self.tmp, self.out, self.caches):
                folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise disk_error(error, self.root) from error

    def write_run(self, run: RunJson) -> None:
        """Replaces run.json atomically and durably. Raises DiskFullError or AgentError."""
        self.write("run.json", {**asdict(run), "message": redact_text(run.message)})

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Replaces manifest.json. Raises DiskFullError or AgentError."""
        self.write("manifest.json", manifest)

    def read_run(self) -> RunJson | None:
        """run.json, or None if there is none or it is damaged."""
        raw = self.read("run.json", RUN_BYTES_MAX)
        known = {item.name for item in fields(RunJson)}
        try:
            # Others may have written it: only values of the right type are accepted, since a text for a number would end the agent later.
            content = json.dumps({key: value for key, value in raw.items() if key in known})
            return _run_json().validate_json(content, strict=True)
        except ValueError:  # pydantic's error is a ValueError
            return None

    def read_manifest(self) -> dict[str, Any]:
        """manifest.json, or empty if there is none."""
        return self.read("manifest.json", MANIFEST_BYTES_MAX)

    def read(self, name: str, bytes_max: int) -> dict[str, Any]:
        """The JSON object in a file of the folder; empty if it is missing, damaged or not a regular file."""
        path = self.root / name
        try:
            return parse_object(read_regular(path, bytes_max), str(path), bytes_max, repair=True)
        except (RegularFileError, JsonError):
            return {}

    def output_tail(self) -> str:
        """The last 64 KiB of stdout and stderr for display, each under its name if it holds anything, without credentials."""
        parts = []
        for path in (self.stdout, self.stderr):
            text = _tail(path, OUTPUT_TAIL_BYTES // 2)
            if text:
                parts.append(f"--- {path.name} ---\n{text}")
        return redact_output("\n".join(parts))

    def output_of(self, name: str) -> str:
        """The last 16 KiB of `stdout` or `stderr` for display, without credentials."""
        return redact_output(_tail(self.root / name, OUTPUT_OF_BYTES))

    def clean_private(self) -> None:
        """Removes the staged probe and the training's private folders; for a folder that a user keeps."""
        for folder in (self.work, self.home, self.tmp, self.probe, self.caches):
            remove_tree(folder)
        if self.common_work:
            remove_tree(self.common_work.parent)
        try:
            self.out.rmdir()  # it stays if the training wrote into it
        except OSError:
            pass

    def forget_data(self) -> None:
        """Removes all but run.json, the manifest and the outputs: for a run whose end was noted by the coordinator."""
        for entry in list(self.root.iterdir()) if self.root.is_dir() else []:
            if entry.name in KEPT:
                continue
            if entry.is_dir() and not entry.is_symlink():
                remove_tree(entry)
            else:
                entry.unlink(missing_ok=True)

    def write(self, name: str, content: Mapping[str, Any]) -> None:
        """Replaces a JSON file of the folder atomically and durably. Raises DiskFullError or AgentError."""
        target, temporary = self.root / name, self.root / f".{name}.new"
        try:
            with open(temporary, "w", encoding="utf-8", opener=private) as stream:
                json.dump(content, stream, indent=1, ensure_ascii=True)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(target)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise disk_error(error, self.root) from error


def remove_tree(folder: Path) -> None:
    """Removes a folder as far as possible. A training may nest folders deeper than Python can follow; `rm` can."""
    try:
        shutil.rmtree(folder, ignore_errors=True)
    except RecursionError:
        quiet = subprocess.DEVNULL
        subprocess.run(["rm", "-rf", "--", str(folder)], stdin=quiet, stdout=quiet, stderr=quiet, check=False)


def disk_error(error: OSError, where: Path) -> AgentError:
    """A DiskFullError for ENOSPC and EDQUOT, else an AgentError."""
    import errno

    if error.errno in (errno.ENOSPC, errno.EDQUOT) or (isinstance(error, shutil.Error) and _is_full(where)):
        return DiskFullError(f"no space left in {where}: free some, or choose another place with --state")
    return AgentError(f"cannot write in {where}: {error.strerror or error}")


def _is_full(where: Path) -> bool:
    """Whether the disk is full. shutil.Error, of a whole folder that could not be copied, has no number of the cause."""
    place = next((folder for folder in (where, *where.parents) if folder.exists()), where)
    try:
        return shutil.disk_usage(place).free < FULL_BYTES
    except OSError:
        return False


def _tail(path: Path, size: int) -> str:
    try:
        return read_tail(path, size).decode("utf-8", "replace").replace("\x00", "?")
    except OSError:
        return ""
