"""Reads the source of the user's modules once, when the first step begins, for what no patch can see.

`__file__`, datetime and id() take no patch, native generators seed themselves, and databases other than sqlite3 draw unseen. A line of
source proves only that it is there. `seen` is false in its note.
"""

from __future__ import annotations

import linecache
import os
import re
from typing import Any, Dict, List

from detctl_probe.observe.host import code
from detctl_probe.observe.outside.unfilled import unfilled
from detctl_probe.observe.outside.value_flow import Read, reads
from detctl_probe.process import commandline
from detctl_probe.process.source_trees import text_of, tree_of
from detctl_probe.recording.recorder import Recorder

FILE_BYTES_MAX = 1 << 16
BYTES_MAX = 1 << 18  # of all files together
CODE_CHARS_MAX = 160
_READ = re.compile(
    r"\b(?:time|datetime|Timestamp|timeit|getcwd|cwd|abspath|realpath|expanduser|home|gethostname|getfqdn|node|uname|getnode|cpu_count"
    r"|getuser|getuid|getlogin|getpid|getppid|get_ident|get_native_id|id|resolve|absolute|__file__|environ|getenv|tempfile"
    r"|sched_getaffinity|subprocess|popen|urandom|getrandom|uuid[14]|secrets|psutil|getloadavg|disk_usage|mem_get_info|getrusage|Timer|SIGALRM)\b"
)
_UNFILLED = re.compile(r"empty|Tensor\(|ndarray")
_SELF_SEEDED = re.compile(r"^(?!\s*def )[^#]*?(?<!random)(?<!torch)\.seed\(\)")
_DRAWING_QUERY = re.compile(
    r"\border\s+by\s+(?:random|rand|newid|dbms_random\.value)\s*\(|\btablesample\b|\busing\s+sample\b", re.IGNORECASE
)


class Sources:
    """The sources of the user's modules, and what they do with what they read from outside."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self.texts: Dict[str, str] = {}
        self.reads: Dict[str, List[Read]] = {}

    def load(self) -> None:
        """Reads the files, the main script first, up to a limit."""
        left = BYTES_MAX
        for path in self._files():
            size = os.path.getsize(path)
            if size <= min(left, FILE_BYTES_MAX):
                left -= size
                self.texts[path] = text_of(path)
        if any(_READ.search(text) for text in self.texts.values()):
            trees = {path: tree_of(path) for path in self.texts}
            self.reads = reads({path: tree for path, tree in trees.items() if tree is not None})

    def note_lines(self) -> None:
        """Notes memory without content, generators that seed themselves, and queries that draw."""
        for file, text in self.texts.items():
            tree = tree_of(file) if _UNFILLED.search(text) else None
            if tree is not None:
                for one in unfilled(tree):
                    what = "%s makes memory without content" % one.call
                    self._note(
                        "uninitialised", what, file, one.line, call=one.call, names=list(one.names), filled=one.filled
                    )
            for number, row in enumerate(text.split("\n"), 1):
                if ".seed()" in row and "Generator(" in text and _SELF_SEEDED.search(row):
                    what = "torch.Generator.seed takes a seed from the system"
                    self._note("self-seeded", what, file, number, call="torch.Generator.seed")
                if _DRAWING_QUERY.search(row):
                    fields: Dict[str, Any] = {"table": "", "draws": True, "ordered": True}
                    self._note("query", "a query draws", file, number, **fields)

    def _note(self, kind: str, text: str, file: str, number: int, **fields: Any) -> None:
        where = {"file": self._recorder.logical(file), "line": number, "code": line_of(file, number)}
        self._recorder.note(kind, text, stage="code", seen=False, **fields, **where)

    def _files(self) -> List[str]:
        main = code.source(commandline.own())
        found = [main] if main is not None else []
        found += code.modules(self._recorder).values()
        return list(dict.fromkeys(os.path.abspath(path) for path in found))


def line_of(file: str, number: int) -> str:
    """A line of source, stripped and not too long."""
    return linecache.getline(file, number).strip()[:CODE_CHARS_MAX] if number else ""
