"""Machines, runs and audits: rows for --json, tables for people."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from detctl_proto.outside_json import JsonError, parse_object

from detctl_cli.output.clean import clean
from detctl_cli.output.times import ago, count

if TYPE_CHECKING:
    from detctl_proto.v1.audits_pb2 import AuditInfo, MachineInfo, RunInfo
    from rich.console import Console
    from rich.table import Table

Row = dict[str, Any]

NARROW = 72  # columns of a terminal; from here on rich wraps cells and nothing is lost
STYLES = {
    "identical": "green",
    "different": "red",
    "unverified": "yellow",
    "failed": "red",
    "cancelled": "yellow",
    "running": "cyan",
    "sealed": "green",
    "done": "green",
    "unreadable": "red",
}


def machine_row(info: MachineInfo) -> Row:
    """JSON of one machine."""
    try:
        manifest = parse_object(info.manifest_json or "{}", "a manifest", sys.maxsize, repair=True)
    except JsonError:
        manifest = {}
    return {
        "name": info.name,
        "connected": info.connected,
        "last_seen_unix_s": info.last_seen_unix_s,
        "recipes": list(info.recipes),
        "environments": list(info.environments),
        "version": info.version,
        "manifest": manifest,
    }


def run_row(info: RunInfo) -> Row:
    """JSON of one run."""
    status = info.status
    return {
        "id": status.run_id,
        "label": status.label,
        "machine": status.machine,
        "audit": info.audit_id,
        "recipe": info.recipe,
        "state": status.state,
        "attempt": status.attempt,
        "step": status.step,
        "records": status.records,
        "ranks": info.ranks,
        "exit_code": info.exit_code,
        "end": info.end,
        "message": status.message,
        "created_unix_s": info.created_unix_s,
    }


def audit_row(info: AuditInfo) -> Row:
    """JSON of one audit."""
    return {
        "id": info.audit_id,
        "recipe": info.recipe,
        "machines": list(info.machines),
        "state": info.state,
        "outcome": info.outcome or None,
        "origin": info.origin or None,
        "causes": list(info.causes),
        "created_unix_s": info.created_unix_s,
    }


def print_machines(rows: Sequence[Row], out: Console) -> None:
    """A table, or what to do where there is none."""
    if not rows:
        out.print("no machine has connected yet: start detctl-agent on one")
        return
    table = _table("machine", "state", "seen", "recipes", "environments", "cpu / gpu", "agent")
    now = time.time()
    for row in rows:
        machine = row["manifest"].get("machine", row["manifest"])
        gpus = row["manifest"].get("gpu") or []
        gpu_names = {str(gpu.get("name", "?")) for gpu in gpus if isinstance(gpu, dict)}
        hardware = ", ".join(sorted(gpu_names)) or (machine.get("cpu_model", "") if isinstance(machine, dict) else "")
        table.add_row(
            clean(row["name"]),
            _styled("connected" if row["connected"] else "away", "green" if row["connected"] else "yellow"),
            ago(row["last_seen_unix_s"], now),
            clean(", ".join(row["recipes"])),
            clean(", ".join(row["environments"])),
            clean(hardware),
            clean(row["version"]),
        )
    _print(table, out)


def print_runs(rows: Sequence[Row], out: Console) -> None:
    """A table, or one line where there is none."""
    if not rows:
        out.print("no runs")
        return
    table = _table("run", "label", "recipe", "state", "step", "records", "ended", "age")
    now = time.time()
    for row in rows:
        ended = clean(row["end"]) + (f" {row['exit_code']}" if row["exit_code"] else "")
        table.add_row(
            clean(row["id"]),
            clean(short_label(row["label"])),
            clean(row["recipe"]),
            _styled(row["state"]),
            str(row["step"]),
            count(row["records"]),
            ended,
            ago(row["created_unix_s"], now),
        )
    _print(table, out)


def print_audits(rows: Sequence[Row], out: Console) -> None:
    """A table, or one line where there is none."""
    if not rows:
        out.print("no audits")
        return
    table = _table("audit", "recipe", "machines", "state", "verdict", "origin", "causes", "age")
    now = time.time()
    for row in rows:
        table.add_row(
            clean(row["id"]),
            clean(row["recipe"]),
            clean(", ".join(row["machines"])),
            _styled(row["state"]),
            _styled(row["outcome"] or ""),
            clean(row["origin"] or ""),
            clean(", ".join(row["causes"])),
            ago(row["created_unix_s"], now),
        )
    _print(table, out)


def print_tokens(rows: Sequence[Row], out: Console) -> None:
    """A table, or one line where there is none."""
    if not rows:
        out.print("no tokens: detctl token create makes one")
        return
    table = _table("token", "holder", "role", "state", "until", "made by", "age")
    now = time.time()
    for row in rows:
        over = "revoked" if row["revoked_unix_s"] else "expired" if row["expires_unix_s"] <= now else "valid"
        table.add_row(
            clean(row["id"]),
            clean(row["name"]),
            clean(row["role"]),
            _styled(over, "green" if over == "valid" else "yellow"),
            time.strftime("%Y-%m-%d", time.localtime(row["expires_unix_s"])),
            clean(row["created_by"]),
            ago(row["created_unix_s"], now),
        )
    _print(table, out)


def print_log(rows: Sequence[Row], out: Console) -> None:
    """A table, or one line where there is none."""
    if not rows:
        out.print("no entries")
        return
    table = _table("number", "time", "who", "event", "audit", "machine", "what")
    for row in rows:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row["at_unix_s"]))
        cells = (row["who"], row["event"], row["audit"], row["machine"], row["text"])
        table.add_row(str(row["number"]), when, *map(clean, cells))
    _print(table, out)


def short_label(label: str) -> str:
    """`gpu1/default/base/twin-0` without what says nothing: `gpu1/twin-0`."""
    parts = label.split("/")
    if len(parts) < 4:
        return label
    environment, variation = parts[1], "/".join(parts[2:-1])
    kept = [
        parts[0],
        environment if environment != "default" else "",
        variation if variation != "base" else "",
        parts[-1],
    ]
    return "/".join(part for part in kept if part)


def _table(*columns: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in columns:
        numeric = name in ("step", "records", "number")
        table.add_column(name, justify="right" if numeric else "left", no_wrap=name in ("run", "audit", "machine"))
    return table


def _print(table: Table, out: Console) -> None:
    """The table; on a narrow terminal, where its cells would be cut to nothing, a block of lines a row."""
    from rich.measure import Measurement
    from rich.text import Text

    natural = Measurement.get(out, out.options.update(max_width=10_000), table).maximum
    if not out.is_terminal or out.width >= NARROW or natural <= out.width:
        out.print(table)
        return
    width = max(len(str(column.header)) for column in table.columns)
    cells = [list(column.cells) for column in table.columns]
    for number in range(table.row_count):
        if number:
            out.print()
        for column, values in zip(table.columns, cells, strict=True):
            value = values[number]
            if str(value):
                line = Text(f"{column.header!s:<{width}}  ", style="bold").append("", style="not bold")
                line.append(value if isinstance(value, Text) else Text(str(value), style="not bold"))
                out.print(line, soft_wrap=True)


def _styled(word: str, style: str = "") -> Any:
    from rich.text import Text

    return Text(clean(word), style=style or STYLES.get(word, ""))
