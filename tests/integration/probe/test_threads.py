"""The probe notes what threads of the user share, who steps the model, and in which order tasks end."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from collector import collect

TRAINING = """
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
import numpy as np
import torch
rng = np.random.default_rng(1)
rows, lock = [], threading.Lock()
model = torch.nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
def step(x=torch.ones(3, 4)):
    with lock:
        loss = model(x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
{body}
for _ in range(2):
    step()
"""


def trained(folder: Path, body: str) -> Any:
    (folder / "train.py").write_text(TRAINING.replace("{body}", body))
    return collect([sys.executable, "train.py"], cwd=folder).main


def test_threads_that_change_one_list_are_noted_and_pure_ones_are_not(tmp_path: Path) -> None:
    shared = "def work(n):\n    own = []\n    own.append(n)\n    rows.append(sum(own))\n"
    pool = "with ThreadPoolExecutor(3) as pool:\n    list(pool.map(work, range(8)))\n"
    run = trained(tmp_path, shared + pool)
    (note,) = run.notes_of("threads")
    assert (note["call"], note["shared"], note["at"]) == ("work", "rows.append", "{cwd}/train.py:19")
    assert note["file"] == "{cwd}/train.py" and note["line"] == 21 and not note["generator"]
    assert [one["count"] for one in run.notes_of("thread-order")] == [4, 8]
    pure = "def work(n):\n    own = []\n    own.append(n)\n    return own\n"
    assert trained(tmp_path, pure + pool).notes_of("threads") == []


def test_a_generator_that_threads_share_is_named(tmp_path: Path) -> None:
    body = "def draw(n):\n    return rng.random() + n\nwith ThreadPoolExecutor(3) as pool:\n    list(pool.map(draw, range(8)))\n"
    (note,) = trained(tmp_path, body).notes_of("threads")
    assert (note["generator"], note["shared"]) == ("rng", "rng.random")


def test_two_threads_that_step_one_model_are_noted(tmp_path: Path) -> None:
    body = "for one in [threading.Thread(target=step) for _ in range(2)]:\n    one.start()\n    one.join()\n"
    notes = trained(tmp_path, body).notes_of("thread-step")
    assert notes and notes[0]["stage"] == "update"
    assert trained(tmp_path, "").notes_of("thread-step") == []
    own = (
        "def alone():\n    net = torch.nn.Linear(2, 1)\n    one = torch.optim.SGD(net.parameters(), lr=0.1)\n"
        "    net(torch.ones(1, 2)).sum().backward()\n    one.step()\n"
    )
    own += "step()\nt = threading.Thread(target=alone)\nt.start()\nt.join()\n"
    assert trained(tmp_path, own).notes_of("thread-step") == []  # a model of its own


def test_results_as_they_finish_are_quoted_with_a_line_that_keeps_the_order(tmp_path: Path) -> None:
    head = "with ThreadPoolExecutor(3) as pool:\n    jobs = [pool.submit(int, n) for n in range(4)]\n"
    body = head + "    for job in as_completed(jobs):\n        job.result()\n"
    (note,) = trained(tmp_path, body).notes_of("unordered")
    assert (note["line_text"], note["line_fixed"]) == ("for job in as_completed(jobs):", "for job in jobs:")
    (note,) = trained(tmp_path, body.replace("as_completed(jobs)", "as_completed(set(jobs))")).notes_of("unordered")
    assert "line_fixed" not in note  # a set has no order of its own


def test_one_thread_that_draws_from_a_global_generator_shares_it_with_the_training(tmp_path: Path) -> None:
    body = "def ahead():\n    rows.append({draw})\nt = threading.Thread(target=ahead)\nt.start()\nt.join()\n"
    (note,) = trained(tmp_path, body.replace("{draw}", "torch.randn(2)")).notes_of("threads")
    assert (note["generator"], note["several"], note["at"]) == ("torch", False, "{cwd}/train.py:17")
    assert trained(tmp_path, body.replace("{draw}", "rng.random()")).notes_of("threads") == []
    own = "torch.randn(2, generator=torch.Generator())"
    assert trained(tmp_path, body.replace("{draw}", own)).notes_of("threads") == []


def test_tasks_of_asyncio_that_change_one_list_are_noted(tmp_path: Path) -> None:
    body = (
        "import asyncio\nasync def fetch(n):\n    await asyncio.sleep(0.001)\n    {change}\n"
        "async def all():\n    await asyncio.gather(*(fetch(n) for n in range(4)))\nasyncio.run(all())\n"
    )
    (note,) = trained(tmp_path, body.replace("{change}", "rows.append(n)")).notes_of("threads")
    assert (note["call"], note["shared"], note["at"]) == ("fetch", "rows.append", "{cwd}/train.py:19")
    assert trained(tmp_path, body.replace("{change}", "return n")).notes_of("threads") == []


def test_gradients_of_several_threads_are_noted_and_the_thread_that_steps_is_recorded(tmp_path: Path) -> None:
    body = (
        "def part():\n    model(torch.ones(3, 4)).square().mean().backward()\n"
        "for _ in range(2):\n    ts = [threading.Thread(target=part) for _ in range(2)]\n"
        "    for t in ts:\n        t.start()\n    for t in ts:\n        t.join()\n    optimizer.step()\n"
    )
    run = trained(tmp_path, body)
    (note,) = run.notes_of("thread-step")
    assert (note["stage"], note["line"], note["at"]) == ("backward", 21, "{cwd}/train.py:17")
    assert run.seal["steps_finished"] == 4


def test_a_queue_of_several_processes_is_noted_where_it_is_read(tmp_path: Path) -> None:
    body = (
        "import multiprocessing\nqueue = multiprocessing.get_context('fork').Queue()\n"
        "def work(q):\n    q.put(1)\n"
        "ps = [multiprocessing.get_context('fork').Process(target=work, args=(queue,)) for _ in range({count})]\n"
        "for p in ps:\n    p.start()\nfor _ in ps:\n    queue.get()\nfor p in ps:\n    p.join()\n"
    )
    (note,) = trained(tmp_path, body.replace("{count}", "2")).notes_of("unordered")
    assert (note["call"], note["line"]) == ("multiprocessing.Queue", 24)
    assert trained(tmp_path, body.replace("{count}", "1")).notes_of("unordered") == []
