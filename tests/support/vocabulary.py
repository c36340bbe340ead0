"""Finds words of our old private dialect in Python sources: `python tests/support/vocabulary.py FOLDER…` prints each place.

The table is that of docs/words.md. Names that other programs read (protobuf fields, keys of the verdict, of a recording and of
frames, options of commands) keep their spelling: they are strings or attributes, and stand in INTERFACE.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

# Parts of a name, in lower case: `_who_told`, `Lab` and `arm_words` each hold one.
NAME_PARTS = {
    "tell": "report, notify, send", "tells": "reports", "told": "reported, received", "telling": "reporting",
    "say": "log, report", "says": "reports", "said": "reported", "saying": "reporting", "hear": "receive", "heard": "received",
    "speak": "send", "speaks": "sends", "spoken": "sent",
    "parted": "diverged", "print_": "fingerprint", "octets": "deterministic_bytes", "asked": "requested",
    "bare": "uninstrumented", "sham": "control", "peel": "remove_one_by_one", "peeled": "removed_one_by_one",
    "lab": "ExperimentRunner", "arm": "configuration", "arms": "configurations", "soundness": "completeness",
    "sound": "complete, verified", "strays": "orphaned", "stray": "orphaned", "culprit": "first_divergent_operation",
    "inert": "no_op", "house": "deployment", "wanted": "requested, needed", "words": "description, format_*, arguments",
    "wording": "format",
}  # fmt: skip
WHOLE_NAMES = {"Print": "Fingerprint", "Prints": "Fingerprints", "WHO": "UNAUTHENTICATED", "NOT_YOURS": "PERMISSION_DENIED",
               "NOT_NOW": "UNAVAILABLE", "TAKEN": "ALREADY_EXISTS", "TOO_MUCH": "RESOURCE_EXHAUSTED"}  # fmt: skip
# Text: strings, docstrings and comments.
TEXT = (
    (r"\b(tells?|told|telling)\b", "report, notify, send, receive"),
    (r"\b(says?|said|saying)\b", "report, log, state"),
    (r"\b(hears?|heard|speaks?|spoken)\b", "receive, send"),
    (r"\bparted\b|\b(they|runs?|twins?|arms?|configurations?|values?|machines?|that|which|first|what|where) parts?\b",
     "diverge"),
    (r"\b(anew)\b", "again"), (r"\bby itself\b", "automatically, alone"), (r"\bof ours\b", "our"),
    (r"(?<!there )\b(is|are|was|were) no (?!(more|longer|less|one|such|way|need|room|other|difference|space)\b)[a-z]", "is not a"),
    (r"\bcarr(y|ies|ied) on to\b", "propagates to"), (r"\bpeel(s|ed)?\b", "remove one by one"), (r"\bshams?\b", "control run"),
    (r"\bculprits?\b", "first divergent operation"), (r"\binert\b", "no-op"), (r"\bstrays?\b", "orphaned"),
    (r"\bsoundness\b|\b(is|are|run|runs) sound\b", "complete, completeness"), (r"(?<!\.)\barms?\b", "configuration"),
    (r"\bbare (run|runs|training)\b", "uninstrumented run"),
)  # fmt: skip
# A word of the digest is 32 bits of its input (docs/digest.md).
DIGEST, DIGEST_PARTS = "detctl_probe/digest", frozenset({"words"})
# What other programs read, and what Python and libraries name so.
INTERFACE: frozenset[str] = frozenset({"print"})
# File and name: keys of the verdict, and the class that defines "arm" as the statistical term.
DEFINED_IN = {
    "domain/verdict.py": {"words"},
    "domain/run.py": {"Arm", "arm", "arms"},
}


class Finding(NamedTuple):
    """One place: `path:line: what → instead`."""

    path: str
    line: int
    found: str
    instead: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.found} → {self.instead}"


def findings(path: Path) -> Iterator[Finding]:
    """The places of one Python file."""
    source = path.read_text()
    defined = {name for end, names in DEFINED_IN.items() if str(path).endswith(end) for name in names}
    for line, name in _bound_names(ast.parse(source)):
        if name in INTERFACE or name in defined:
            continue
        if name in WHOLE_NAMES:
            yield Finding(str(path), line, name, WHOLE_NAMES[name])
        parts = [part.lower() for part in re.findall(r"[A-Z]+(?=[A-Z][a-z]|\b|_)|[A-Z]?[a-z]+", name)]
        parts += ["print_"] * name.lower().strip("_").startswith("print_") + ["print_"] * name.endswith("print_")
        for part in parts:
            if part in NAME_PARTS and not (part in DIGEST_PARTS and DIGEST in str(path)):
                yield Finding(str(path), line, name, NAME_PARTS[part])
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in (tokenize.STRING, tokenize.COMMENT) and not _is_key(token.string):
            for pattern, instead in TEXT:
                for match in re.finditer(pattern, token.string, re.IGNORECASE):
                    if match.group() in defined:
                        continue
                    line = token.start[0] + token.string[: match.start()].count("\n")
                    yield Finding(str(path), line, repr(match.group()), instead)


def _bound_names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id if isinstance(node, ast.Name) else node.attr


def _is_key(literal: str) -> bool:
    """A literal without a space is a key or a word of an interface, not a sentence."""
    return not literal.startswith(("#", '"""', "'''")) and " " not in literal


def files(folder: Path) -> list[Path]:
    """Our Python files below a folder; generated stubs are not ours."""
    return sorted(path for path in folder.rglob("*.py") if not path.name.endswith(("_pb2.py", "_pb2_grpc.py")))


def main(folders: list[str]) -> int:
    """Prints every place; returns 1 if there is one."""
    found = [finding for folder in folders for path in files(Path(folder)) for finding in findings(path)]
    for finding in found:
        print(finding)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
