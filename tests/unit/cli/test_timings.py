"""Where the time of an audit went: measured from its messages, and shown."""

from __future__ import annotations

import io

from detctl_cli.audits.stopwatch import PARTS, Stopwatch, process_age_s
from detctl_cli.output.side_by_side import why_side_by_side
from detctl_cli.output.terminal import console
from detctl_cli.progress.view import Paces, view_of
from detctl_cli.reporters.timings import write_recording_timings, write_timings
from detctl_proto.v1.agents_pb2 import RunTimings, SideBySide
from detctl_proto.v1.audits_pb2 import AuditProgress, RunStatus

FITS = SideBySide(runs=2, reason="fits", cores_used=1.02, cores=2, memory_bytes=300 << 20)


def status(number: int, state: str = "running", **fields: object) -> RunStatus:
    return RunStatus(run_id=f"r{number}", label=f"vm/default/base/twin-{number}", machine="vm", state=state, **fields)


def document() -> dict[str, object]:
    now = [10.0]
    watch = Stopwatch(lambda: now[0], age_s=1.0)
    watch.enter("services")
    now[0] = 12.0
    watch.enter("planning")
    now[0] = 12.5
    watch.update(AuditProgress(state="running", runs=[status(0, side_by_side=FITS), status(1)]))
    now[0] = 22.5
    watch.update(AuditProgress(state="comparing"))
    now[0] = 23.0
    timings = RunTimings(preparing=0.25, importing=3.0, training=6.0)
    ended = [status(0, "sealed", timings=timings), status(1, "sealed", timings=timings, beside=1)]
    watch.update(AuditProgress(state="done", runs=ended))
    return watch.document()


def test_the_parts_of_a_command_add_up() -> None:
    found = document()
    assert found["parts"] == {"detctl": 1.0, "services": 2.0, "planning": 0.5, "runs": 10.0, "comparing": 0.5}
    assert found["total_s"] == 14.0 and list(found["parts"]) == list(PARTS)


def test_each_run_has_its_parts_and_how_many_trained_beside_it() -> None:
    first, second = document()["runs"]
    assert first["run"] == "vm/default/base/twin-0" and first["purpose"] == "twin"
    assert (first["importing_s"], first["training_s"], first["total_s"]) == (3.0, 6.0, 9.25)
    assert (first["beside"], second["beside"]) == (0, 1)
    assert document()["side_by_side"] == {
        "runs": 2, "reason": "fits", "cores_used": 1.02, "cores": 2, "memory_bytes": 300 << 20,
    }  # fmt: skip


def test_the_table_leaves_out_parts_that_took_no_time() -> None:
    out = io.StringIO()
    write_timings(document(), console(out))
    text = out.getvalue()
    assert "import torch" in text and "known answers" not in text and "14.0 s" in text
    assert "up to 2 runs train side by side" in text
    recorded = io.StringIO()
    write_recording_timings({"importing": 3.0, "training": 1.5}, console(recorded))
    assert "4.5 s" in recorded.getvalue() and "known answers" not in recorded.getvalue()


def test_the_progress_shows_once_that_runs_train_side_by_side() -> None:
    alone = AuditProgress(runs=[status(0, side_by_side=FITS)])
    together = AuditProgress(runs=[status(0, side_by_side=FITS, beside=1), status(1, beside=1)])
    assert view_of(alone, Paces(), 0.0).together == ""
    assert view_of(together, Paces(), 0.0).together == why_side_by_side(document()["side_by_side"]) != ""


def test_every_reason_has_a_sentence() -> None:
    from detctl_proto.recordings.side_by_side import SIDE_BY_SIDE_REASONS

    lines = {
        why_side_by_side({"runs": 1, "reason": reason, "cores_used": 1.9, "cores": 2, "memory_bytes": 1 << 30})
        for reason in SIDE_BY_SIDE_REASONS
    }
    assert len(lines) == len(SIDE_BY_SIDE_REASONS) and not any("{" in line for line in lines)
    assert why_side_by_side(None) == ""


def test_the_age_of_this_process_is_known() -> None:
    assert 0.0 < process_age_s() < 3600 * 24
