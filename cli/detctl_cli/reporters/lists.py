"""Writes lists of machines, runs, audits, tokens and log entries as tables."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from detctl_proto.recordings.run_labels import BASE, DEFAULT_ENVIRONMENT, parse_label

from detctl_cli.output.clean import clean
from detctl_cli.output.times import ago, count
from detctl_cli.reporters.tables import Cell, styled, text, write_table

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

Rows = Sequence[Mapping[str, Any]]


def write_machines(rows: Rows, out: Console) -> None:
    """Writes machines, or how to connect one."""
    columns: dict[str, Cell] = {
        "machine": text("name"),
        "state": _connection,
        "seen": _age("last_seen_unix_s"),
        "recipes": text("recipes"),
        "environments": text("environments"),
        "cpu / gpu": _hardware,
        "agent": text("version"),
    }
    write_table(rows, columns, out, if_empty="no machine has connected yet: start detctl-agent on one")
    for row in rows:
        for note in row.get("notes") or []:
            what = "cannot run recipe" if note["unusable"] else "copies the folder for each run of recipe"
            line = f"{row['name']} {what} {note['recipe']}: {note['reason']}"
            out.print(clean(line), soft_wrap=True)


def write_runs(rows: Rows, out: Console, *, filtered: bool = False) -> None:
    """Writes runs."""
    columns: dict[str, Cell] = {
        "run": text("id"),
        "label": lambda row: clean(short_label(row["label"])),
        "recipe": text("recipe"),
        "state": lambda row: styled(row["state"]),
        "step": text("step"),
        "records": lambda row: count(row["records"]),
        "ended": lambda row: clean(row["end"]) + (f" {row['exit_code']}" if row["exit_code"] else ""),
        "age": _age("created_unix_s"),
    }
    write_table(rows, columns, out, if_empty="no runs match" if filtered else "there are no runs")


def write_audits(rows: Rows, out: Console, *, filtered: bool = False) -> None:
    """Writes audits with their verdicts."""
    columns: dict[str, Cell] = {
        "audit": text("id"),
        "recipe": text("recipe"),
        "machines": text("machines"),
        "state": lambda row: styled(row["state"]),
        "verdict": lambda row: styled(row["outcome"]),
        "origin": text("origin"),
        "causes": text("causes"),
        "age": _age("created_unix_s"),
    }
    write_table(rows, columns, out, if_empty="no audits match" if filtered else "there are no audits")


def write_tokens(rows: Rows, out: Console) -> None:
    """Writes tokens, or how to create one."""
    columns: dict[str, Cell] = {
        "token": text("id"),
        "holder": text("name"),
        "role": text("role"),
        "state": _validity,
        "valid until": lambda row: time.strftime("%Y-%m-%d", time.localtime(row["expires_unix_s"])),
        "created by": text("created_by"),
        "age": _age("created_unix_s"),
    }
    write_table(rows, columns, out, if_empty="there are no tokens: create one with detctl token create")


def write_log(rows: Rows, out: Console) -> None:
    """Writes entries of the log."""
    columns: dict[str, Cell] = {
        "number": text("number"),
        "time": lambda row: time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row["at_unix_s"])),
        "who": text("who"),
        "event": text("event"),
        "audit": text("audit"),
        "machine": text("machine"),
        "what": text("text"),
    }
    write_table(rows, columns, out, if_empty="there are no entries")


def short_label(label: str) -> str:
    """Returns a label without parts that have their default: `gpu1/twin-0` for `gpu1/default/base/twin-0`."""
    found = parse_label(label)
    if found is None:
        return label
    kept = [
        found.machine,
        found.environment if found.environment != DEFAULT_ENVIRONMENT else "",
        found.variation if found.variation != BASE else "",
        f"{found.kind}-{found.number}",
    ]
    return "/".join(part for part in kept if part)


def _age(key: str) -> Cell:
    now = time.time()
    return lambda row: ago(row[key], now)


def _connection(row: Mapping[str, Any]) -> Text:
    return styled("connected", "green") if row["connected"] else styled("away", "yellow")


def _hardware(row: Mapping[str, Any]) -> str:
    machine = row["manifest"].get("machine", row["manifest"])
    gpus = row["manifest"].get("gpu") or []
    gpu_names = {str(gpu.get("name", "?")) for gpu in gpus if isinstance(gpu, dict)}
    cpu = machine.get("cpu_model", "") if isinstance(machine, dict) else ""
    return clean(", ".join(sorted(gpu_names)) or cpu)


def _validity(row: Mapping[str, Any]) -> Text:
    if row["revoked_unix_s"]:
        return styled("revoked", "yellow")
    return styled("expired", "yellow") if row["expires_unix_s"] <= time.time() else styled("valid", "green")
