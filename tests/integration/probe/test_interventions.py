"""Each intervention acts on a real training, reads back what it did, and reports if it did nothing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from collector import collect, script

MODEL = """
import os, platform, random, secrets, socket, sys, time, uuid
import numpy as np
import torch
{head}
model = torch.nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(3):
    {body}
    loss = model(x).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
{tail}
"""


def trained(
    folder: Path,
    interventions: dict[str, str],
    head: str = "",
    body: str = "x = torch.ones(3, 4)",
    tail: str = "",
    start_warm: bool = True,
) -> Any:
    (folder / "train.py").write_text(MODEL.format(head=head, body=body, tail=tail))
    return collect([sys.executable, "train.py"], cwd=folder, interventions=interventions, start_warm=start_warm)


def read_back(run: Any, name: str) -> dict[str, Any]:
    (row,) = [row for row in run.main.seal["interventions"] if row["name"] == name]
    return row


def test_a_seed_makes_unseeded_runs_equal_and_a_seed_of_the_program_wins(tmp_path: Path) -> None:
    body = "x = torch.full((3, 4), random.random() + float(np.random.rand())) + torch.rand(3, 4)"
    runs = [trained(tmp_path, {"seed": "5"}, body=body) for _ in range(2)]
    assert runs[0].main.compared() == runs[1].main.compared()
    assert read_back(runs[0], "seed")["acted"]
    assert all(name in read_back(runs[0], "seed")["detail"] for name in ("random", "numpy", "torch"))
    uninstrumented = trained(tmp_path, {}, body=body)
    assert uninstrumented.main.compared() != runs[0].main.compared()
    own = [trained(tmp_path, {"seed": seed}, "torch.manual_seed(1)", "x = torch.rand(3, 4)") for seed in ("5", "6")]
    assert own[0].main.of("update")[-1].digest == own[1].main.of("update")[-1].digest


def test_a_seed_reaches_forked_children(tmp_path: Path) -> None:
    text = """
import os, random
if os.fork() == 0:
    print(random.random(), flush=True)
    os._exit(0)
os.wait()
"""
    uninstrumented, forced, again = (
        collect(script(tmp_path, text), cwd=tmp_path, interventions=requested).stdout
        for requested in ({}, {"seed": "5"}, {"seed": "5"})
    )
    assert uninstrumented != forced == again != ""


def test_seedings_of_an_intervention_are_not_recorded_as_the_programs(tmp_path: Path) -> None:
    head = """from torch.utils.data import DataLoader
torch.manual_seed(1)
np.random.seed(2)
batches = iter(DataLoader(torch.rand(12, 4), batch_size=4, num_workers=2))"""
    own = ["seed/torch.manual_seed", "seed/numpy.random.seed"]
    for start_warm in (False, True):
        run = trained(
            tmp_path, {"seed": "5:steps", "worker_seeds": "3"}, head, "x = next(batches)", start_warm=start_warm
        )
        assert read_back(run, "seed")["acted"] and read_back(run, "worker_seeds")["acted"]
        assert [site for site in run.main.sites("rng") if site.startswith("seed/")] == own


def test_seeds_at_each_step_mask_what_is_drawn_in_between(tmp_path: Path) -> None:
    body = "x = torch.rand(3, 4)\n    torch.rand(1 + os.urandom(1)[0])  # draws an unknown number more"
    head = "torch.manual_seed(0)"
    digests = []
    for seed in ("5:steps", "5:steps"):
        run = trained(tmp_path, {"seed": seed}, head, body)
        digests.append([record.digest for record in run.main.of("forward")])
    assert digests[0] == digests[1] and len(set(digests[0])) == 3
    assert "each step" in read_back(run, "seed")["detail"]


def test_switches_hold_against_the_program_and_report_it(tmp_path: Path) -> None:
    head = "torch.set_num_threads(2); torch.use_deterministic_algorithms(False)"
    body = "x = torch.ones(3, 4); torch.set_float32_matmul_precision('medium')"
    tail = (
        "print(torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), "
        "torch.backends.cuda.flash_sdp_enabled(), torch.backends.cuda.math_sdp_enabled())"
    )
    expected = {"threads": "1", "deterministic": "on", "precision": "highest", "attention": "math"}
    run = trained(tmp_path, expected, head, body, tail)
    assert run.stdout.split() == ["1", "True", "False", "True"]
    reported = {name: read_back(run, name) for name in expected}
    assert all(row["acted"] for row in reported.values()), reported
    assert "flash: True → False" in reported["attention"]["detail"]
    assert "the program set matmul precision" in reported["precision"]["detail"]
    assert "deterministic algorithms: False → True" in reported["deterministic"]["detail"]


def test_a_switch_that_is_already_so_reports_that_nothing_changed(tmp_path: Path) -> None:
    row = read_back(trained(tmp_path, {"threads": "1"}), "threads")
    assert (row["acted"], row["detail"]) == (True, "nothing to change")


REQUESTED = [
    "time.time()", "time.time_ns()", "socket.gethostname()", "platform.node()", "os.getpid()", "uuid.uuid4()", "uuid.uuid1()",
    "os.urandom(8)", "secrets.token_hex(4)", "random.SystemRandom().random()", "random.Random().random()",
    "np.random.default_rng().random()",
]  # fmt: skip


def test_a_frozen_identity_is_the_same_in_each_run(tmp_path: Path) -> None:
    head = f"random.seed(); got = [repr(value) for value in ({', '.join(REQUESTED)}, random.random())]"
    runs = [trained(tmp_path, {"identity": "frozen"}, head, tail="print('\\n'.join(got))") for _ in range(2)]
    uninstrumented = trained(tmp_path, {}, head, tail="print('\\n'.join(got))").stdout.splitlines()
    first, second = (run.stdout.splitlines() for run in runs)
    assert len(first) == len(REQUESTED) + 1
    assert first == second
    assert [
        word for word, a, b in zip([*REQUESTED, "random.seed()"], first, uninstrumented, strict=True) if a == b
    ] == []
    row = read_back(runs[0], "identity")
    assert row["acted"] and "os.getpid" in row["detail"], row


POOLED = """
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from multiprocessing.pool import ThreadPool
def work(number):
    time.sleep(0.05 * (4 - number))
    return number
with ThreadPoolExecutor(4) as pool:
    got = [done.result() for done in as_completed({pool.submit(work, number) for number in range(4)}, timeout=60)]
with ThreadPool(4) as pool:
    got += list(pool.imap_unordered(work, range(4)))
"""


def test_results_of_pools_come_as_they_were_requested_for_and_both_are_noted(tmp_path: Path) -> None:
    requested, uninstrumented = (
        trained(tmp_path, expected, POOLED, tail="print(*got)") for expected in ({"completion": "asked"}, {})
    )
    assert requested.stdout.split() == list("01230123")
    assert uninstrumented.stdout.split() == list("32103210")
    assert "2 times" in read_back(requested, "completion")["detail"]
    noted = [(note["call"], note["file"]) for note in uninstrumented.main.notes_of("unordered")]
    assert noted == [("concurrent.futures.as_completed", "{cwd}/train.py"), ("imap_unordered", "{cwd}/train.py")]


def test_a_queue_that_several_threads_fill_is_noted_and_one_that_one_fills_is_not(tmp_path: Path) -> None:
    head = """
import queue, threading
def fill(line):
    for number in range(3):
        line.put(number)
one, two = queue.Queue(), queue.Queue()
fill(one)
for _ in range(2):
    thread = threading.Thread(target=fill, args=({},))
    thread.start()
    thread.join()
"""
    assert trained(tmp_path, {}, head.replace("{}", "queue.Queue()")).main.notes_of("unordered") == []
    (note,) = trained(tmp_path, {}, head.replace("{}", "two")).main.notes_of("unordered")
    assert (note["call"], note["function"]) == ("queue.Queue", "fill")


def test_a_future_that_is_late_ends_the_wait_as_it_would_have(tmp_path: Path) -> None:
    head = """
import concurrent.futures as cf, threading
pool, wait = cf.ThreadPoolExecutor(1), threading.Event()
try:
    list(cf.as_completed([pool.submit(wait.wait)], timeout=0.1))
except cf.TimeoutError:
    print("late")
wait.set()
"""
    run = trained(tmp_path, {"completion": "asked"}, head)
    assert run.stdout == "late\n" and read_back(run, "completion")["acted"]


def test_what_asks_for_no_identity_is_not_reported_to_be_frozen(tmp_path: Path) -> None:
    import_only = "import tempfile; tempfile.mkstemp(); assert sorted([2, 1]) == [1, 2]"
    row = read_back(trained(tmp_path, {"identity": "frozen"}, import_only), "identity")
    assert not row["acted"], row


def test_a_value_that_means_nothing_acts_on_nothing(tmp_path: Path) -> None:
    wrong = {
        "seed": "x",
        "threads": "0",
        "deterministic": "off",
        "precision": "low",
        "attention": "flash",
        "identity": "x",
    }
    run = trained(tmp_path, wrong)
    for name in wrong:
        assert not read_back(run, name)["acted"]
        assert name in run.stderr
    assert len(run.main.steps) == 3


def test_an_uninstrumented_run_shows_the_weights_of_an_observed_one_and_nothing_else(tmp_path: Path) -> None:
    observed = trained(tmp_path, {}, "torch.manual_seed(0)")
    uninstrumented = trained(tmp_path, {"bare": "2"}, "torch.manual_seed(0)")
    assert {(record.stage, record.step) for record in uninstrumented.main.records} == {("update", 2)}
    updated = [record for record in observed.main.of("update") if record.step == 2 and record.shape]
    weights = [record.digest for record in updated if not record.site.startswith("optimizer")]  # not before the step
    assert sorted(record.digest for record in uninstrumented.main.records if record.shape) == sorted(weights)
    assert read_back(uninstrumented, "bare")["acted"]
    held = trained(tmp_path, {"bare": "2", "precision": "highest", "attention": "math"}, "torch.manual_seed(0)")
    assert read_back(held, "precision")["acted"] and read_back(held, "attention")["acted"], (
        "what the audit sets holds here too"
    )


def test_a_planted_ulp_is_in_its_step_and_a_swap_in_its_batch(tmp_path: Path) -> None:
    body = "x = torch.rand(3, 4)"
    clean = trained(tmp_path, {}, "torch.manual_seed(0)", body)
    nudged = trained(tmp_path, {"fault": "ulp:1"}, "torch.manual_seed(0)", body)
    assert "one ulp before step 1" in read_back(nudged, "fault")["detail"]
    at = {
        step: [r.digest for r in clean.main.of("forward") if r.step == step]
        == [r.digest for r in nudged.main.of("forward") if r.step == step]
        for step in range(3)
    }
    assert at == {0: True, 1: False, 2: False}

    loader = "from torch.utils.data import DataLoader\ntorch.manual_seed(0)\nbatches = iter(DataLoader(torch.rand(12, 4), batch_size=4))"
    clean = trained(tmp_path, {}, loader, "x = next(batches)")
    swapped = trained(tmp_path, {"fault": "swap:1"}, loader, "x = next(batches)")
    assert read_back(swapped, "fault")["acted"]
    orders = [[record.digest for record in run.main.of("order")] for run in (clean, swapped)]
    assert [a == b for a, b in zip(*orders, strict=True)] == [True, False, True]
    nothing = trained(tmp_path, {"fault": "swap:1"}, "torch.manual_seed(0)", body)
    assert not read_back(nothing, "fault")["acted"] and "nothing to change" in read_back(nothing, "fault")["detail"]
    wrong = trained(tmp_path, {"fault": "ulp"}, "torch.manual_seed(0)", body)
    assert "ulp:STEP or swap:BATCH" in read_back(wrong, "fault")["detail"]


def test_worker_seeds_make_draws_in_workers_equal(tmp_path: Path) -> None:
    head = """from torch.utils.data import DataLoader
class Noisy:
    def __len__(self): return 12
    def __getitem__(self, index): return torch.rand(4) + random.random() + float(np.random.rand())
torch.seed()  # the seeds of the workers come from it
batches = iter(DataLoader(Noisy(), batch_size=4, num_workers=2))"""
    masked = [trained(tmp_path, {"worker_seeds": "3"}, head, "x = next(batches)") for _ in range(2)]
    assert [r.digest for r in masked[0].main.of("batch")] == [r.digest for r in masked[1].main.of("batch")]
    assert (
        "2 workers" in read_back(masked[0], "worker_seeds")["detail"] and read_back(masked[0], "worker_seeds")["acted"]
    )
    uninstrumented = [trained(tmp_path, {}, head, "x = next(batches)") for _ in range(2)]
    assert [r.digest for r in uninstrumented[0].main.of("batch")] != [
        r.digest for r in uninstrumented[1].main.of("batch")
    ]
    alone = trained(tmp_path, {"worker_seeds": "3"}, "torch.manual_seed(0)")
    assert not read_back(alone, "worker_seeds")["acted"]


def test_ddp_has_one_bucket(tmp_path: Path) -> None:
    head = """import torch.distributed as dist
dist.init_process_group("gloo", init_method="file://" + os.path.abspath("meet"), rank=0, world_size=1)"""
    body = "x = torch.ones(3, 4)\n    if step == 0: model = torch.nn.parallel.DistributedDataParallel(model)"
    run = trained(tmp_path, {"ddp_buckets": "one"}, head, body, "dist.destroy_process_group()")
    assert read_back(run, "ddp_buckets")["acted"] and "bucket_cap_mb" in read_back(run, "ddp_buckets")["detail"]
    assert not read_back(trained(tmp_path, {"ddp_buckets": "one"}), "ddp_buckets")["acted"]


def test_a_frozen_datetime_is_a_datetime_in_all_else(tmp_path: Path) -> None:
    head = """import datetime, pickle, copy
from datetime import datetime as dt, date
now, day, fixed = dt.now(), date.today(), dt(2020, 1, 2, 3)
assert isinstance(now, dt) and isinstance(now, date) and isinstance(day, date) and not isinstance(day, dt) and isinstance(fixed, dt)
assert fixed == pickle.loads(pickle.dumps(fixed)) == copy.copy(fixed) and dt.fromisoformat("2020-01-02T03:00:00") == fixed
assert (now - fixed).days > 0 and now.year == 2023 and dt.now(datetime.timezone.utc).tzinfo is not None and dt.utcnow().tzinfo is None
assert np.datetime64(fixed).astype(object) == fixed and dt.strptime("2020", "%Y") < now
torch.manual_seed(int(now.timestamp() * 1000) % 2**31)"""
    runs = [trained(tmp_path, {"identity": "frozen"}, head) for _ in range(2)]
    assert runs[0].returncode == 0 and runs[0].main.compared() == runs[1].main.compared()
    assert "datetime.now" in read_back(runs[0], "identity")["detail"]


def test_packages_keep_the_real_datetime(tmp_path: Path) -> None:
    package = tmp_path / "site-packages" / "compiled.py"  # as pandas is, against the C type
    package.parent.mkdir()
    package.write_text(
        "import _datetime, datetime, pickle\nfrom datetime import date\n"
        "assert datetime.datetime is _datetime.datetime and date is _datetime.date\n"
        "def again(value): return pickle.loads(pickle.dumps(value))\n"
    )
    head = """sys.path.append("site-packages")
import compiled, datetime, pickle
now = datetime.datetime.now()
assert now.year == 2023 and compiled.again(now) == now == pickle.loads(pickle.dumps(now)) and compiled.again(now.date()) == now.date()
torch.manual_seed(0)"""
    run = trained(tmp_path, {"identity": "frozen"}, head)
    assert run.returncode == 0, run.stderr


def test_unseeded_generators_of_the_users_code_are_frozen_beside_a_seed(tmp_path: Path) -> None:
    head = "torch.manual_seed(0)\nours, theirs = np.random.default_rng(), random.Random()"
    body = "x = torch.full((3, 4), ours.random() + theirs.random())"
    both = {"seed": "5", "identity": "frozen"}
    runs = [trained(tmp_path, both, head, body) for _ in range(2)]
    assert runs[0].returncode == 0 and runs[0].main.compared() == runs[1].main.compared()


def test_a_seed_reaches_generators_that_packages_make_without_one(tmp_path: Path) -> None:
    package = tmp_path / "site-packages" / "gymlike.py"
    package.parent.mkdir()
    package.write_text(
        "import numpy as np, random\n"
        "def made(seed=None):\n"
        "    sequence = np.random.SeedSequence(seed)\n"
        "    return np.random.Generator(np.random.PCG64(sequence)), random.Random(seed)\n"
    )
    head = """sys.path.append("site-packages")
import gymlike
torch.manual_seed(0)
ours, theirs = gymlike.made()"""
    body = "x = torch.full((3, 4), ours.random() + theirs.random())"
    runs = [trained(tmp_path, {"seed": "5"}, head, body) for _ in range(2)]
    assert runs[0].returncode == 0 and runs[0].main.compared() == runs[1].main.compared()
    assert "generators of gymlike" in read_back(runs[0], "seed")["detail"]
    uninstrumented = trained(tmp_path, {}, head, body)
    assert uninstrumented.main.compared() != runs[0].main.compared()
    notes = [(note["text"], note["package"], note["line"]) for note in uninstrumented.main.notes_of("unseeded-rng")]
    line = (tmp_path / "train.py").read_text().splitlines().index("ours, theirs = gymlike.made()") + 1
    assert notes == [
        (f"{call} without a seed takes one from the system, inside gymlike", "gymlike", line)
        for call in ("numpy.random.SeedSequence", "random.Random")
    ]
