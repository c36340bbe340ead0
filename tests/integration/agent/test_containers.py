"""Runs in containers of two Debian releases: what they see, how they end, and that none is left. Needs a Docker engine that runs.

DETCTL_TEST_ENGINE=podman asks Podman instead (`docker save python:3.11-slim | podman load`, so for 3.13; it needs catatonit).

The trainings are those of conftest.py: the real probe, staged by the agent and mounted, speaks through the run's socket.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from detctl_proto.v1 import agents_pb2

from tests.support.engine import Engine

RUNNING, REFUSED = agents_pb2.RUN_PHASE_RUNNING, agents_pb2.RUN_PHASE_REFUSED
ENGINE = Engine(os.environ.get("DETCTL_TEST_ENGINE", "docker"))
OF = "localhost/" if ENGINE.program == "podman" else ""  # what only Podman has
IMAGES = {"bookworm": f"{OF}python:3.11-slim", "trixie": f"{OF}python:3.13-slim"}
GONE_S = 60.0


WHY_NOT = ENGINE.why_not(*IMAGES.values())
pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)]

FACTS = """
import json, os, pathlib, socket, sys
try:
    pathlib.Path(sys.argv[1], "written").write_text("x")
    data = "written"
except OSError as error:
    data = error.strerror
try:
    socket.create_connection(("192.0.2.1", 80), 1)
    net = "reached"
except OSError as error:
    net = error.strerror
status = dict(line.split(":", 1) for line in pathlib.Path("/proc/self/status").read_text().splitlines())
print("FACTS " + json.dumps({
    "uid": os.getuid(), "caps": status["CapEff"].strip(), "new_privs": status["NoNewPrivs"].strip(), "data": data, "net": net,
    "env": dict(os.environ), "host": socket.gethostname(), "read": pathlib.Path(sys.argv[1], "one,two.txt").read_text(),
    "home": os.access(os.environ["HOME"], os.W_OK), "cwd": os.getcwd(), "shm": os.statvfs("/dev/shm").f_blocks > 1 << 20,
}))
"""


@pytest.fixture
def environments(tmp_path: Path, tools: Any) -> Callable[..., None]:
    def write(more: str = "", **images: str) -> None:
        tables = [f'[environments.{name}]\nimage = "{image}"' for name, image in (images or IMAGES).items()]
        tools.write_catalog(tmp_path, more="\n".join([more, *tables]))

    return write


def containers(key: str = "r1.1") -> str:
    return ENGINE.out("ps", "--all", "--quiet", "--filter", f"label=detctl.run={key}")


def wait_until_gone(key: str = "r1.1") -> None:
    end = time.monotonic() + GONE_S
    while containers(key):
        assert time.monotonic() < end, ENGINE.out("ps", "--all")
        time.sleep(0.2)  # an engine tells nobody of a container's end


async def test_two_images_are_two_environments(served: Any, agent: Any, environments: Any) -> None:
    environments()
    agent()
    coordinator = served.coordinator
    seen = {}
    for number, name in enumerate(IMAGES):
        coordinator.assign(f"r{number}", environment=name)
        end = await coordinator.ended(f"r{number}")
        assert (end.end, end.exit_code, end.ranks) == ("window", -15, 1), end.output_tail
        assert coordinator.seals[f"r{number}", 1, 0].complete
        seen[name] = json.loads(end.manifest_json)
        wait_until_gone(f"r{number}.1")
    assert coordinator.records("r0") == coordinator.records("r1") > 100
    assert [seen[name]["machine"]["os_version"] for name in IMAGES] == ["12", "13"]
    assert [seen[name]["python"]["version"][:4] for name in IMAGES] == ["3.11", "3.13"]
    assert seen["bookworm"]["machine"]["libc"] != seen["trixie"]["machine"]["libc"]
    assert seen["bookworm"]["machine"]["kernel"] == seen["trixie"]["machine"]["kernel"]
    for name, image in IMAGES.items():
        assert seen[name]["environment"]["image"] == image
        assert seen[name]["environment"]["image_id"] == ENGINE.out("image", "inspect", "-f", "{{.Id}}", image)
        assert "PIP_CERT" in seen[name]["variables"], "the image's own variables are facts of the environment"
    assert {name for one in coordinator.hellos[0].environments for name in [one.name]} == {"default", *IMAGES}


async def test_what_a_training_in_a_container_has_and_has_not(
    tmp_path: Path, served: Any, agent: Any, environments: Any
) -> None:
    data, source = tmp_path / "da,ta", tmp_path / "facts"
    for folder in (data, source):
        folder.mkdir()
    (data / "one,two.txt").write_text("read")
    (source / "facts.py").write_text(FACTS)
    environments(
        f"""[recipes.facts]
command = ["python", "facts.py", "{{data}}"]
folder = "{source}"
paths = ["data"]
parameters = {{ data = "{data}" }}"""
    )
    agent(variables={"MY_API_TOKEN": "secret-of-the-agent", "LD_PRELOAD": "", "LD_LIBRARY_PATH": "/nowhere"})
    served.coordinator.assign(recipe="facts", environment="bookworm", step_to=0)
    end = await served.coordinator.ended()
    assert end.exit_code == 0, end.output_tail
    facts = json.loads(next(line[6:] for line in end.output_tail.splitlines() if line.startswith("FACTS ")))
    assert facts["uid"] == os.getuid()
    assert (int(facts["caps"], 16), facts["new_privs"]) == (0, "1")
    assert (facts["data"], facts["read"]) == ("Read-only file system", "read")
    assert facts["net"] == "Network is unreachable"
    assert facts["home"]
    assert facts["shm"]
    assert facts["host"] == os.uname().nodename
    assert facts["cwd"] == str(tmp_path / "state" / "runs" / "r1.1" / "work")
    assert "LD_LIBRARY_PATH" not in facts["env"]
    assert "secret-of-the-agent" not in json.dumps(facts)


@pytest.mark.parametrize(("then", "code"), [("crash", 7), ("kill", -9)])
async def test_exit_codes_are_those_of_the_training(
    served: Any, agent: Any, environments: Any, then: str, code: int
) -> None:
    more = '[recipes.kill]\ncommand = ["python", "-c", "import os; os.kill(os.getpid(), 9)"]\nfolder = "source"'
    environments(more)
    agent()
    order = {"parameters": {"steps": "2", "then": "crash"}} if then == "crash" else {"recipe": "kill"}
    served.coordinator.assign(environment="trixie", step_to=0, **order)
    end = await served.coordinator.ended()
    assert (end.end, end.exit_code) == ("exit", code)
    wait_until_gone()


async def test_a_training_that_does_not_want_to_end_is_gone_after_its_grace(
    served: Any, agent: Any, environments: Any, tools: Any
) -> None:
    environments()
    agent()
    coordinator = served.coordinator
    coordinator.assign(environment="bookworm", parameters={"then": "stubborn"}, step_to=0)
    await coordinator.until(lambda: coordinator.records() > 50)
    coordinator.stop(run_id="r1", attempt=1, now=True, reason="asked")
    end = await coordinator.ended()
    assert end.end == "cancelled"
    wait_until_gone()
    assert tools.pids_of_run("r1.1") == []


async def test_a_killed_agent_leaves_no_container(served: Any, agent: Any, environments: Any, tools: Any) -> None:
    environments()
    process = agent()
    coordinator = served.coordinator
    coordinator.assign(environment="bookworm", parameters={"then": "stubborn"}, step_to=0)
    await coordinator.until(lambda: coordinator.records() > 50)
    assert containers()
    process.kill()
    wait_until_gone()


async def test_a_killed_agent_and_a_killed_shim_are_made_up_for_at_the_next_start(
    served: Any, agent: Any, environments: Any, tools: Any
) -> None:
    environments()
    process = agent()
    coordinator = served.coordinator
    coordinator.assign(environment="bookworm", step_to=0)
    await coordinator.until(lambda: coordinator.records() > 50)
    client = [
        pid
        for pid in tools.pids_of_run("r1.1")
        if Path(f"/proc/{pid}/exe").readlink().name in (ENGINE.program, "conmon")
    ]
    assert client
    process.kill()
    for pid in client:
        os.kill(pid, 9)
    agent()
    end = await coordinator.ended()
    assert end.end == "lost"
    wait_until_gone()


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ("detctl-test/nothing:here", f"{ENGINE.program} pull detctl-test/nothing:here"),
        ("detctl-test/empty", "python3 and python do not answer"),
    ],
)
async def test_an_image_that_cannot_be_used_is_one_line(
    served: Any, agent: Any, environments: Any, image: str, said: str
) -> None:
    nothing = bytes(10240)  # an empty archive: an image without any program
    subprocess.run([ENGINE.program, "import", "-", "detctl-test/empty"], input=nothing, check=True, capture_output=True)
    environments(odd=image)
    agent()
    served.coordinator.assign(environment="odd")
    state = await served.coordinator.until(lambda: served.coordinator.state(REFUSED))
    assert said in state.message
    assert "\n" not in state.message
