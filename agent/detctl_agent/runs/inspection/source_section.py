"""The section `source` of a manifest: lines of the training's own source that the probe named, with lines that remove a cause, and
places that use the order of a set.

    {"lines":  [{"file", "line", "end_line", "text": [...], "loses_order": true, "fixes": {cause: {"old": [...], "new": [...],
                 "expression", "imports"}}}],     loses_order: the line lists a folder and sorts the names, or only counts them
     "orders": [{"file", "line", "end_line", "text": [...], "kind", "items", "expression", "made_file", "made_line",
                 "reaches": ["data"], "fix": {"old": [...], "new": [...], "expression", "imports"}}],
     "calls":  ["torch.manual_seed", ...],    calls of the program that seed or select deterministic algorithms
     "hash_seed_set": {"file", "line"},       where the program itself assigns PYTHONHASHSEED, if it does
     "loaders": [{"file", "line", "given": ["generator", "worker_init_fn"]}]}

The files are read after the run. A file whose content is not what the training executed is left out.
"""

from __future__ import annotations

import ast
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

from detctl_proto.files.regular_file import RegularFileError, read_regular
from detctl_proto.security.redaction import redact_text
from detctl_proto.syntax.source.edits import LINES_MAX, Fix
from detctl_proto.syntax.source.fixes import CAUSES, fix_of
from detctl_proto.syntax.source.flow import is_dead, reached_by
from detctl_proto.syntax.source.listing_fixes import loses_order
from detctl_proto.syntax.source.module import Module
from detctl_proto.syntax.source.orders import OrderedUse, ordered_uses
from detctl_proto.syntax.source.sets import Sets
from detctl_proto.syntax.source.statements import head_lines, lines_of, statement_at

from detctl_agent.recording.observed import Observed

FILE_BYTES_MAX = 1024 * 1024
FILES_MAX = 200
BYTES_MAX = 8 * 1024 * 1024
ORDERS_MAX = 40
TIME_MAX_S = 3.0
LINE_CHARACTERS_MAX = 400
CALLS = frozenset(
    {
        "random.seed", "numpy.random.seed", "torch.manual_seed", "torch.random.manual_seed", "torch.cuda.manual_seed",
        "torch.cuda.manual_seed_all", "torch.use_deterministic_algorithms", "detctl_probe.set_deterministic",
        "lightning.seed_everything", "pytorch_lightning.seed_everything", "lightning.pytorch.seed_everything",
        "transformers.set_seed", "accelerate.utils.set_seed", "transformers.enable_full_determinism", "monai.utils.set_determinism",
    }
)  # fmt: skip
HASH_SEED = "PYTHONHASHSEED"
Resolve = Callable[[str], Path | None]


def source_section(observed: Observed, resolve: Resolve, clock: Callable[[], float] = time.monotonic) -> dict[str, Any]:
    """Returns the section; empty if no source could be read. resolve: logical name or path of a source -> where it is now."""
    end = clock() + TIME_MAX_S
    texts = read_sources(observed, resolve)
    modules: dict[str, Module] = {}
    for site, text in texts.items():
        if (module := _parsed(site, text)) is not None:
            modules[site] = module
    if not modules:
        return {}
    sets = Sets(list(modules.values()))
    found: dict[str, Any] = {
        "lines": list(_lines(observed, sets, modules, texts, lambda: clock() < end)),
        "orders": list(_orders(sets, modules, texts, lambda: clock() < end)),
        **_done(modules),
    }
    return found


def read_sources(observed: Observed, resolve: Resolve) -> dict[str, str]:
    """Returns logical name -> text of each source file that is still as the training executed it."""
    texts: dict[str, str] = {}
    left = BYTES_MAX
    for site, source in list(observed.sources.items())[:FILES_MAX]:
        path = resolve(site) or resolve(source.path)
        if path is None:
            continue
        try:
            content = read_regular(path, min(FILE_BYTES_MAX, left), follow=True)
        except RegularFileError:
            continue
        # The digest proves that the training has read this content, so no other file of this machine can get into a manifest.
        if blake2b(content, digest_size=16).digest() != source.digest:
            continue
        left -= len(content)
        try:
            texts[site] = content.decode("utf-8")
        except UnicodeDecodeError:
            continue
    return texts


def _parsed(site: str, text: str) -> Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text, site)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return Module(Path(site.rpartition("}/")[2] or site), site, tree)


def _lines(
    observed: Observed, sets: Sets, modules: Mapping[str, Module], texts: Mapping[str, str], in_time: Callable[[], bool]
) -> Iterator[dict[str, Any]]:
    for file, line in observed.lines:
        module = modules.get(file)
        if module is None or not in_time():
            continue
        statement = statement_at(module, line)
        if statement is None:
            continue
        rows = lines_of(texts[file])
        start, end = head_lines(rows, statement)
        fixes: dict[str, Any] = {}
        for cause in CAUSES:
            if cause != "hash-order" and (fix := fix_of(cause, sets, module, texts[file], line)) is not None:
                fixes[cause] = _fix(fix)
        row: dict[str, Any] = {"file": file, "line": line, "end_line": end, "text": _shown(rows[start - 1 : end])}
        if loses_order(module, line):
            row["loses_order"] = True
        yield {**row, "fixes": {cause: fix for cause, fix in fixes.items() if fix}}


def _orders(
    sets: Sets, modules: Mapping[str, Module], texts: Mapping[str, str], in_time: Callable[[], bool]
) -> Iterator[dict[str, Any]]:
    try:
        uses = list(ordered_uses(sets))
    except RecursionError:
        return
    for use in uses[:ORDERS_MAX]:
        if is_dead(sets, use.module, use.node):
            continue
        row = _order(use, texts[use.module.shown])
        try:
            # Without time it is unknown what it reaches, so it may be anything.
            reached = sorted(reached_by(sets, use.module, use.node)) if in_time() else ["data", "model"]
        except RecursionError:
            reached = ["data", "model"]
        fix = fix_of("hash-order", sets, use.module, texts[use.module.shown], use.line) if in_time() else None
        yield {**row, "reaches": reached, "fix": _fix(fix) if fix is not None else {}}


def _order(use: OrderedUse, text: str) -> dict[str, Any]:
    rows = lines_of(text)
    statement = statement_at(use.module, use.line)
    start, end = head_lines(rows, statement) if statement is not None else (use.line, use.line)
    return {
        "file": use.module.shown,
        "line": use.line,
        "end_line": end,
        "text": _shown(rows[start - 1 : end]),
        "kind": use.kind,
        "items": use.items,
        "expression": redact_text(ast.unparse(use.node))[:LINE_CHARACTERS_MAX],
        "made_file": use.made_file,
        "made_line": use.made_line,
    }


def _fix(fix: Fix) -> dict[str, Any]:
    """Returns a fix as JSON values; empty if one of its lines holds a credential."""
    new, old = list(fix.new), list(fix.old)
    if _shown(new) != new or _shown(old) != old:
        return {}
    return {"old": old, "new": new, "expression": fix.expression, "imports": list(fix.imports)}


def _shown(rows: list[str]) -> list[str]:
    return [redact_text(row)[:LINE_CHARACTERS_MAX] for row in rows[:LINES_MAX]]


def _done(modules: Mapping[str, Module]) -> dict[str, Any]:
    """Returns what the program already does."""
    calls: set[str] = set()
    loaders: list[dict[str, Any]] = []
    found: dict[str, Any] = {}
    for site, module in modules.items():
        for call, name in module.calls():
            if name in CALLS:
                calls.add(name)
            elif name.rpartition(".")[2] == "DataLoader" and len(loaders) < ORDERS_MAX:
                given = {keyword.arg for keyword in call.keywords} & {"generator", "worker_init_fn"}
                loaders.append({"file": site, "line": call.lineno, "given": sorted(str(name) for name in given)})
        if "hash_seed_set" not in found and (line := _assigns_hash_seed(module)):
            found["hash_seed_set"] = {"file": site, "line": line}
    return {**found, "calls": sorted(calls), "loaders": loaders}


def _assigns_hash_seed(module: Module) -> int:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if (
                    isinstance(target, ast.Subscript)
                    and isinstance(target.slice, ast.Constant)
                    and target.slice.value == HASH_SEED
                ):
                    return node.lineno
        elif isinstance(node, ast.Call) and module.dotted(node.func) in ("os.putenv", "os.environ.setdefault"):
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Constant) and first.value == HASH_SEED:
                return node.lineno
    return 0
