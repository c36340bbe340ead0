"""detctl clean"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from detctl_cli.commands.options import json_option
from detctl_cli.errors import UsageError
from detctl_cli.exits import Exit

if TYPE_CHECKING:
    from detctl_cli.service.client import Coordinator

KEPT_FOR = "7d"
ACTIVE = ("running", "comparing")
FINGERPRINTS = "fingerprints"


@click.command("clean", short_help="Free space: remove the data of local audits, and keep their verdicts.")
@click.option(
    "--older-than",
    metavar="AGE",
    help=f"Delete fingerprints of audits that are older than AGE, such as 30d or 12h. The default is {KEPT_FOR}.",
)
@click.option("--all", "everything", is_flag=True, help="Delete the fingerprints of all audits that are over.")
@click.option("--dry-run", is_flag=True, help="Show what would be removed, and remove nothing.")
@json_option
def command(older_than: str | None, everything: bool, dry_run: bool, as_json: bool) -> Exit:
    """Remove what local audits have left in ./.detctl, and print how much space that freed.

    It removes folders and logs of runs that are over, snapshots of sources, and what killed runs left. It also deletes
    the fingerprints of old audits. Verdicts and the list of audits stay. It does nothing while an audit runs here.

    \b
    Examples:
      detctl clean --dry-run
      detctl clean --older-than 30d
      detctl clean --all
    """
    from detctl_cli.local.places import data_folder, find_data_folder, locked
    from detctl_cli.output.terminal import note, write_json
    from detctl_cli.output.times import seconds_of

    if everything and older_than is not None:
        raise UsageError("--all and --older-than exclude each other", "leave one of them out")
    try:
        age_s = 0.0 if everything else seconds_of(older_than or KEPT_FOR)
    except ValueError as problem:
        raise UsageError(f"--older-than: {problem}") from None
    here = Path.cwd()
    folder, place = find_data_folder(here) or (data_folder(here)[0], here)
    if not folder.is_dir():
        raise UsageError(f"there is no data of detctl in {here} or above it", "change to the folder of an audit")
    if place != here:
        note(f"cleaning the data of {place}")
    with locked(folder) as lock:
        rows, active = _clean(folder, lock, age_s, dry_run)
    freed = sum(row["bytes"] for row in rows)
    if as_json:
        write_json(
            {
                "schema": "detctl.cleaned/v1", "folder": str(folder), "dry_run": dry_run, "freed_bytes": freed,
                "removed": rows, "unfinished_audits": active,
            }
        )  # fmt: skip
    else:
        _write(rows, freed, folder, active, dry_run)
    return Exit.IDENTICAL


def _clean(folder: Path, lock: int, age_s: float, dry_run: bool) -> tuple[list[dict[str, Any]], list[str]]:
    """Returns (a row for each kind of data: what, count, bytes; ids of audits that have no verdict and stay as they are)."""
    from tempfile import TemporaryDirectory

    from detctl_cli.local.leftovers import leftovers, remove, size_of
    from detctl_cli.local.places import STORE
    from detctl_cli.local.session import stored_in

    store = [folder / f"{STORE}{suffix}" for suffix in ("", "-wal", "-shm")]
    before = sum(map(size_of, store))
    deleted, active = 0, list[str]()
    if store[0].exists():
        with TemporaryDirectory(prefix="detctl-clean-") as logs, stored_in(folder, Path(logs), lock) as coordinator:
            deleted, active = _delete_fingerprints(coordinator, age_s, dry_run)
    rows = []
    for found in leftovers(folder, active):
        size = found.size()
        if not dry_run:
            remove(found.paths)
            size -= found.size()  # what could not be removed
        rows.append({"what": found.what, "count": len(found.paths), "bytes": size})
    freed = 0 if dry_run else max(before - sum(map(size_of, store)), 0)
    return [*rows, {"what": FINGERPRINTS, "count": deleted, "bytes": freed}], active


def _delete_fingerprints(coordinator: Coordinator, age_s: float, dry_run: bool) -> tuple[int, list[str]]:
    """Returns (number of runs whose fingerprints were or would be deleted, ids of audits that have no verdict)."""
    import time

    from detctl_proto.limits import LIST_MAX
    from detctl_proto.v1.audits_pb2 import DeleteRequest, ListRequest

    from detctl_cli.local.kept_audits import forget

    audits = coordinator.audits(ListRequest(limit=LIST_MAX)).audits
    active = [info.audit_id for info in audits if info.state in ACTIVE]
    if dry_run:
        old = coordinator.runs(ListRequest(limit=LIST_MAX, until_unix_s=time.time() - age_s)).runs
        return sum(run.audit_id not in active for run in old), active
    request = DeleteRequest(older_than_s=max(age_s, 1e-3), keep_audits=True)
    deleted = coordinator.delete_runs(request)
    for audit in {run_id.rpartition(".")[0] for run_id in deleted}:
        forget(audit)  # without its runs nothing can be explained
    return len(deleted), active


def _write(rows: list[dict[str, Any]], freed: int, folder: Path, active: list[str], dry_run: bool) -> None:
    from detctl_cli.output.clean import clean
    from detctl_cli.output.sizes import size_text

    found = [row for row in rows if row["count"]]
    if not found:
        click.echo(f"there is nothing to remove in {clean(folder)}")
    else:
        click.echo(f"{size_text(freed)} {'can be freed' if dry_run else 'freed'} in {clean(folder)}")
    for row in found:
        if row["what"] == FINGERPRINTS:
            runs = f"of {row['count']} run{'s' if row['count'] > 1 else ''}"
            click.echo(f"  {FINGERPRINTS:<22} {runs}{'' if dry_run else '   ' + size_text(row['bytes'])}")
        else:
            click.echo(f"  {row['what']:<22} {row['count']:>5}   {size_text(row['bytes'])}")
    if any(row["what"] == FINGERPRINTS for row in found):
        click.echo("  verdicts stay: detctl audits lists them")
    for audit in active:
        click.echo(f"  audit {clean(audit)} has not ended, so its data stays; detctl cancel {clean(audit)} ends it")
