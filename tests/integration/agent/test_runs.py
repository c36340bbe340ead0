"""A run from assignment to the note of its end."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from detctl_proto.v1 import agents_pb2

RUNNING, ENDED, REFUSED = agents_pb2.RUN_PHASE_RUNNING, agents_pb2.RUN_PHASE_ENDED, agents_pb2.RUN_PHASE_REFUSED


async def test_a_run_is_ended_after_its_window_and_everything_arrives(tmp_path: Path, served: Any, agent: Any) -> None:
    agent()
    coordinator = served.coordinator
    coordinator.assign(step_to=4)
    end = await coordinator.ended()
    assert (end.end, end.ranks) == ("window", 1)
    assert end.exit_code == -15
    seal = coordinator.seals["r1", 1, 0]
    assert seal.complete
    assert seal.reason == "window"
    assert (seal.steps_finished, seal.last_step) == (4, 3)
    numbers = sorted(key[3] for key in coordinator.segments)
    assert numbers == list(range(seal.segments))
    arrived = coordinator.records()
    assert arrived == sum(stream.count for stream in seal.streams)
    assert arrived >= 5 * (1 + 4 * 5)
    columns = coordinator.columns()
    sequences = [delta for one in columns for delta in one.sequence_delta]
    assert len(sequences) == arrived
    manifest = json.loads(end.manifest_json)
    assert manifest["recipe"]["source_digest"] == coordinator.hellos[0].recipes[0].source_digest
    assert manifest["machine"]["name"] == "gpu1"
    assert manifest["python"]["packages"]["grpcio"]
    assert "step 0" in end.output_tail


async def test_the_folder_of_a_noted_run_keeps_its_output_and_no_data(tmp_path: Path, served: Any, agent: Any) -> None:
    process = agent()
    served.coordinator.assign()
    await served.coordinator.ended()
    process.close()
    folder = tmp_path / "state" / "runs" / "r1.1"
    assert sorted(entry.name for entry in folder.iterdir()) == ["manifest.json", "run.json", "stderr", "stdout"]
    assert json.loads((folder / "run.json").read_text())["noted"] is True


async def test_a_crash_is_an_exit_with_its_code(served: Any, agent: Any) -> None:
    agent()
    served.coordinator.assign(parameters={"steps": "2", "then": "crash"}, step_to=0)
    end = await served.coordinator.ended()
    assert (end.end, end.exit_code) == ("exit", 7)
    assert served.coordinator.seals["r1", 1, 0].reason == "exit"


async def test_a_repeated_assignment_runs_once(served: Any, agent: Any) -> None:
    agent()
    for _ in range(3):
        served.coordinator.assign()
    await served.coordinator.ended()
    before = served.coordinator.received
    served.coordinator.assign()  # after its end was noted
    ends = len([state for state in served.coordinator.states if state.phase == ENDED])
    await served.coordinator.until(
        lambda: len([state for state in served.coordinator.states if state.phase == ENDED]) > ends
    )
    assert served.coordinator.received == before


async def test_runs_take_turns(served: Any, agent: Any) -> None:
    agent()
    served.coordinator.assign("r1")
    served.coordinator.assign("r2")
    await served.coordinator.ended("r1")
    await served.coordinator.ended("r2")
    order = [(state.run_id, state.phase) for state in served.coordinator.states if state.phase in (RUNNING, ENDED)]
    assert order.index(("r2", RUNNING)) > order.index(("r1", RUNNING))


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"recipe": "other"}, "unknown recipe 'other' (here: emit)"),
        ({"environment": "moon"}, "unknown environment 'moon' (here: default)"),
        ({"parameters": {"depth": "1"}}, "has no parameter 'depth'"),
        ({"parameters": {"steps": "8; rm -rf /"}}, "does not match"),
        ({"variables": {"LD_PRELOAD": "/tmp/x.so"}}, "LD_PRELOAD may not be set from remote"),
        ({"expected_source_digest": "00"}, "changed after the audit was planned"),
        ({"interventions": {"clock": "frozen"}}, "unknown intervention 'clock'"),
    ],
)
async def test_what_the_owner_does_not_allow_is_refused(
    served: Any, agent: Any, fields: dict[str, Any], why: str
) -> None:
    agent()
    served.coordinator.assign(**fields)
    state = await served.coordinator.until(lambda: served.coordinator.state(REFUSED))
    assert why in state.message
    assert "\n" not in state.message
    assert not served.coordinator.segments


async def test_a_folder_that_vanished_is_refused(tmp_path: Path, served: Any, agent: Any) -> None:
    import shutil

    agent()
    await served.coordinator.until(lambda: served.coordinator.hellos)
    shutil.rmtree(tmp_path / "source")
    served.coordinator.assign()
    state = await served.coordinator.until(lambda: served.coordinator.state(REFUSED))
    assert "does not exist" in state.message


async def test_a_missing_interpreter_is_refused(tmp_path: Path, served: Any, agent: Any, tools: Any) -> None:
    tools.write_catalog(tmp_path, more='[environments.old]\npython = "/nowhere/bin/python"\n')
    agent()
    served.coordinator.assign(environment="old")
    state = await served.coordinator.until(lambda: served.coordinator.state(REFUSED))
    assert "/nowhere/bin/python does not exist" in state.message


async def test_a_write_into_the_source_folder_stays_private(
    tmp_path: Path, served: Any, agent: Any, tools: Any
) -> None:
    source = str(tmp_path / "source")
    tools.write_catalog(tmp_path, {"command": ["python", "emit.py", "2", "2", "write-source", source]})
    agent()
    served.coordinator.assign(step_to=0)
    end = await served.coordinator.ended()
    assert "changed while it ran" not in end.message
    assert not (Path(source) / "left.txt").exists()
    assert not [*(tmp_path / "state" / "overlays").glob("*")], "what the run wrote is thrown away"


async def test_the_training_gets_neither_token_nor_secrets(tmp_path: Path, served: Any, agent: Any, tools: Any) -> None:
    token = tmp_path / "token"
    token.write_text("tok-12345\n")
    token.chmod(0o600)
    tools.write_catalog(tmp_path, {"command": ["python", "-c", "import os; print(dict(os.environ))"]})
    process = agent(
        "--token-file", str(token), "--inherit-environment", variables={"HF_TOKEN": "hf-9", "COLOUR": "red"}
    )
    served.coordinator.assign()
    end = await served.coordinator.ended()
    assert "'COLOUR': 'red'" in end.output_tail
    assert "hf-9" not in end.output_tail + end.manifest_json
    assert "tok-12345" not in end.output_tail + end.manifest_json + process.log
    assert served.coordinator.metadata[0]["authorization"] == "Bearer tok-12345"
    assert end.ranks == 0
    assert "no training was seen" in end.message


async def test_a_changed_catalog_and_a_changed_source_are_offered_anew(
    tmp_path: Path, served: Any, agent: Any, tools: Any
) -> None:
    agent()
    first = (await served.coordinator.until(lambda: served.coordinator.hellos))[0]
    (tmp_path / "source" / "emit.py").write_text(tools.EMITTER + "\n# changed\n")
    await served.coordinator.until(
        lambda: served.coordinator.hellos[-1].recipes[0].source_digest != first.recipes[0].source_digest
    )
    tools.write_catalog(tmp_path, more='[environments.slow]\nemulate = { cpu = "default" }\n')
    await served.coordinator.until(lambda: len(served.coordinator.hellos[-1].environments) == 2)


async def test_stop_after_a_step(served: Any, agent: Any) -> None:
    agent()
    served.coordinator.assign(parameters={"steps": "1000000", "width": "1"}, step_to=0)
    await served.coordinator.until(lambda: served.coordinator.segments)
    served.coordinator.stop(run_id="r1", attempt=1, after_step=3)
    end = await served.coordinator.ended()
    assert end.end == "stop"
    assert served.coordinator.seals["r1", 1, 0].complete


async def test_cancel_ends_at_once(served: Any, agent: Any, tools: Any) -> None:
    agent()
    served.coordinator.assign(step_to=0)
    await served.coordinator.until(lambda: served.coordinator.state(RUNNING))
    served.coordinator.stop(run_id="r1", attempt=1, now=True, reason="nobody wants it")
    end = await served.coordinator.ended()
    assert (end.end, end.message) == ("cancelled", "nobody wants it")
    assert tools.pids_of_run("r1.1") == []


async def test_a_commit_of_a_remote_is_trained(tmp_path: Path, served: Any, agent: Any, tools: Any) -> None:
    remote = tmp_path / "remote"
    remote.mkdir()
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", *identity, "-C", str(remote), *words], check=True, capture_output=True, text=True
        ).stdout.strip()

    git("init", "-q", "-b", "main")
    (remote / "sub").mkdir()
    (remote / "sub" / "emit.py").write_text(tools.EMITTER)
    git("add", "-A")
    git("commit", "-qm", "one")
    commit = git("rev-parse", "HEAD")
    recipe = f'source = "git+file://{remote}"\nfolder = "sub"\ncommand = ["python", "emit.py", "4", "2"]'
    tools.write_catalog(tmp_path, more=f"[recipes.pinned]\n{recipe}\n")
    agent()
    served.coordinator.assign(recipe="pinned", parameters={"commit": commit}, step_to=0)
    end = await served.coordinator.ended()
    manifest = json.loads(end.manifest_json)
    assert (end.end, end.exit_code, end.ranks) == ("exit", 0, 1)
    assert manifest["recipe"]["git_commit"] == commit
    assert manifest["recipe"]["parameters"]["commit"] == commit
    served.coordinator.assign("r2", recipe="pinned", parameters={"commit": "0" * 40})
    refused = await served.coordinator.until(lambda: served.coordinator.state(REFUSED, "r2"))
    assert "no branch and no tag" in refused.message
