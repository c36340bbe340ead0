"""What must hold when things break: nothing lost, nothing twice, and no training left behind."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from detctl_proto.v1 import agents_pb2

RUNNING, ENDED = agents_pb2.RUN_PHASE_RUNNING, agents_pb2.RUN_PHASE_ENDED


async def _running(served: Any, tools: Any, key: str = "r1.1") -> list[int]:
    """Waits until the training has sent something; returns its processes."""
    await served.coordinator.until(lambda: served.coordinator.segments)
    found: list[int] = tools.pids_of_run(key)
    assert found
    return found


async def test_a_killed_agent_takes_its_training_along_and_reports_it_lost(served: Any, agent: Any, tools: Any) -> None:
    process = agent()
    served.coordinator.assign(step_to=0)
    pids = await _running(served, tools)
    process.kill()
    await tools.gone(pids)
    agent()
    end = await served.coordinator.ended()
    assert end.end == "lost"
    assert "killed while it ran" in end.message
    assert len({hello.boot_id for hello in served.coordinator.hellos}) == 2
    served.coordinator.assign(attempt=2)
    again = await served.coordinator.ended(attempt=2)
    assert again.end == "window"
    assert served.coordinator.seals["r1", 2, 0].complete


async def test_a_killed_agent_resumes_the_spool_of_a_run_that_had_ended(
    tmp_path: Path, served: Any, agent: Any, tools: Any
) -> None:
    served.coordinator.acknowledge = False
    process = agent()
    served.coordinator.assign(parameters={"width": "3000"}, step_to=4)
    run = tmp_path / "state" / "runs" / "r1.1" / "run.json"
    await served.coordinator.until(lambda: run.exists() and '"state": "ended"' in run.read_text())
    assert len(served.coordinator.segments) == 1  # one was taken, none acknowledged
    process.kill()
    await served.coordinator.resume_acknowledging()
    agent()
    end = await served.coordinator.ended()
    assert end.end == "window"
    seal = served.coordinator.seals["r1", 1, 0]
    assert seal.complete
    assert served.coordinator.records() == sum(stream.count for stream in seal.streams)
    assert sorted(key[3] for key in served.coordinator.segments) == list(range(seal.segments))


async def test_a_spool_that_was_damaged_meanwhile_is_lost_and_never_sent(
    tmp_path: Path, served: Any, agent: Any, tools: Any
) -> None:
    await served.stop()
    process = agent()
    await served.start()
    served.coordinator.acknowledge = False
    served.coordinator.assign(parameters={"width": "3000"}, step_to=4)
    folder = tmp_path / "state" / "runs" / "r1.1"
    run = folder / "run.json"
    await served.coordinator.until(lambda: run.exists() and '"state": "ended"' in run.read_text())
    process.kill()
    log = folder / "spool" / "log"
    content = bytearray(log.read_bytes())
    content[len(content) // 2] ^= 1
    log.write_bytes(content)
    await served.coordinator.resume_acknowledging()
    process = agent()
    end = await served.coordinator.ended()
    assert end.end == "lost"
    assert "spool is damaged" in end.message
    assert ("r1", 1, 0) not in served.coordinator.seals


async def test_a_coordinator_that_goes_away_is_found_again(served: Any, agent: Any, tools: Any) -> None:
    process = agent()
    served.coordinator.assign(step_to=0, parameters={"steps": "200"})
    await _running(served, tools)
    await served.stop()
    await served.start()
    await served.coordinator.until(lambda: len(served.coordinator.hellos) >= 2)
    await served.coordinator.until(lambda: served.coordinator.heartbeats[-1].runs)
    served.coordinator.stop(run_id="r1", attempt=1, now=True, reason="enough")
    await served.coordinator.ended()
    assert process.log.count("not_connected") == 1
    numbers = sorted(key[3] for key in served.coordinator.segments)
    assert numbers == list(range(len(numbers)))


async def test_a_fenced_attempt_is_ended_and_forgotten(tmp_path: Path, served: Any, agent: Any, tools: Any) -> None:
    agent()
    served.coordinator.fenced.add(("r1", 1))
    served.coordinator.assign(step_to=0)
    await served.coordinator.until(lambda: served.coordinator.received)
    pids = tools.pids_of_run("r1.1")
    await tools.gone(pids)
    spool = tmp_path / "state" / "runs" / "r1.1" / "spool"
    await served.coordinator.until(lambda: not spool.exists())
    beats = len(served.coordinator.heartbeats)
    await served.coordinator.until(lambda: len(served.coordinator.heartbeats) > beats + 1)
    assert not served.coordinator.heartbeats[-1].runs
    assert served.coordinator.state(ENDED) is None


async def test_data_that_the_coordinator_refuses_end_the_run(served: Any, agent: Any) -> None:
    agent()
    served.coordinator.refuse = "record count does not fit"
    served.coordinator.assign(step_to=0)
    end = await served.coordinator.ended()
    assert end.end == "lost"
    assert "record count does not fit" in end.message


async def test_a_training_over_its_time_is_ended(tmp_path: Path, served: Any, agent: Any, tools: Any) -> None:
    tools.write_catalog(tmp_path, {"timeout_s": 1.5})
    agent()
    served.coordinator.assign(step_to=0)
    end = await served.coordinator.ended()
    assert end.end == "timeout"
    assert end.message == "ended after its time limit of 1.5 s"
    assert served.coordinator.seals["r1", 1, 0].reason == "lost"
    assert not served.coordinator.seals["r1", 1, 0].complete


async def test_a_daemonised_grandchild_that_ignores_sigterm_is_ended_too(
    tmp_path: Path, served: Any, agent: Any, tools: Any
) -> None:
    note = tmp_path / "daemon.pid"
    tools.write_catalog(tmp_path, {"command": ["python", "emit.py", "4", "2", "daemon", str(note)], "grace_s": 0.2})
    agent()
    served.coordinator.assign(step_to=2)
    end = await served.coordinator.ended()
    assert end.end == "window"
    assert not tools.alive(int(note.read_text()))


async def test_a_killed_agent_takes_a_stubborn_daemon_along(
    tmp_path: Path, served: Any, agent: Any, tools: Any
) -> None:
    note = tmp_path / "daemon.pid"
    tools.write_catalog(tmp_path, {"command": ["python", "emit.py", "4", "2", "daemon", str(note)], "grace_s": 0.2})
    process = agent()
    served.coordinator.assign(step_to=0)
    pids = await _running(served, tools)
    assert int(note.read_text()) in pids
    process.kill()
    await tools.gone(pids)


async def test_a_killed_shim_leaves_nothing_either(served: Any, agent: Any, tools: Any) -> None:
    process = agent()
    served.coordinator.assign(step_to=0)
    pids = await _running(served, tools)
    shim = subprocess.run(["pgrep", "-P", str(process.process.pid)], capture_output=True, text=True, check=True)
    os.kill(int(shim.stdout.split()[0]), signal.SIGKILL)
    await tools.gone(pids)
    end = await served.coordinator.ended()
    assert end.end == "lost"


async def test_a_training_that_ignores_sigterm(tmp_path: Path, served: Any, agent: Any, tools: Any) -> None:
    tools.write_catalog(tmp_path, {"command": ["python", "emit.py", "4", "2", "stubborn"], "grace_s": 0.2})
    agent()
    served.coordinator.assign(step_to=3)
    end = await served.coordinator.ended()
    assert (end.end, end.exit_code) == ("window", -9)


async def test_an_output_flood_is_cut(tmp_path: Path, served: Any, agent: Any, tools: Any) -> None:
    tools.write_catalog(tmp_path, {"output_mb_max": 1})
    agent()
    served.coordinator.assign(parameters={"then": "flood"}, step_to=0)
    end = await served.coordinator.ended()
    assert end.end == "output-limit"
    assert (tmp_path / "state" / "runs" / "r1.1" / "stdout").stat().st_size == 1024 * 1024
    assert len(end.output_tail.encode()) <= 64 * 1024


async def test_sigterm_ends_trainings_and_tells(served: Any, agent: Any, tools: Any) -> None:
    process = agent()
    served.coordinator.assign(step_to=0)
    pids = await _running(served, tools)
    process.process.send_signal(signal.SIGTERM)
    assert await process.ended() == 0
    assert not [pid for pid in pids if tools.alive(pid)]
    end = await served.coordinator.ended()
    assert (end.end, end.message) == ("lost", "the agent was ended while it ran")


async def test_a_second_agent_on_the_same_folder_is_refused(served: Any, agent: Any) -> None:
    agent()
    await served.coordinator.until(lambda: served.coordinator.hellos)
    second = agent()
    assert await second.ended() == 2
    assert "another agent works in" in second.log
    assert "Traceback" not in second.log


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    place = tmp_path / "state"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs the right to mount a tmpfs")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


async def test_a_full_disk_ends_the_run_and_corrupts_nothing(
    tmp_path: Path, small_disk: Path, served: Any, agent: Any, tools: Any
) -> None:
    process = agent()
    served.coordinator.assign(parameters={"steps": "100000", "width": "500"}, step_to=0)
    end = await served.coordinator.ended()
    assert end.end == "disk-full"
    assert "no space left" in end.message
    assert not any(seal.complete for seal in served.coordinator.seals.values())
    numbers = sorted(key[3] for key in served.coordinator.segments)
    assert numbers == list(range(len(numbers)))
    assert served.coordinator.columns()
    assert "Traceback" not in process.log
    served.coordinator.assign("r2", step_to=2)
    assert (await served.coordinator.ended("r2")).end == "window"
