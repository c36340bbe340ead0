"""What a script does with the clock, a path or a process id, read from its source."""

from __future__ import annotations

import ast
import textwrap

import pytest
from detctl_probe.observe.outside import value_flow

HEAD = "import time, os, torch, random, hashlib\nfrom datetime import datetime\nfrom pathlib import Path\n"


def reads(source: str, **others: str) -> list[value_flow.Read]:
    texts = {"train.py": source, **{f"{name}.py": text for name, text in others.items()}}
    return value_flow.reads({file: ast.parse(text) for file, text in texts.items()})["train.py"]


def uses(source: str) -> list[tuple[str, str]]:
    return [(read.call, read.use) for read in reads(HEAD + textwrap.dedent(source))]


@pytest.mark.parametrize(
    "source",
    [
        "t0 = time.time()\nloss = model(x)\nprint('took', time.time() - t0)",
        "stamp = datetime.now().strftime('%H%M')\nos.makedirs('runs/' + stamp)",
        "last = time.time()\nif time.time() - last > 10:\n    print('alive')\n    last = time.time()",
        "t0 = time.perf_counter()\nloss.backward()\nlog = {'seconds': time.perf_counter() - t0}",
        "passed = time.time() - 3\nm, s = passed // 60, passed % 60\nprint(f'{m}:{s}')",
        "def step(x):\n    t = time.time()\n    l = f(x)\n    return l, time.time() - t\nloss, dt = step(x)\nloss.backward()",
        "ROOT = os.path.dirname(os.path.abspath(__file__))\nrows = torch.load(os.path.join(ROOT, 'x.pt'))\nrows.sum().backward()",
        "writer.write(f'log_{os.getpid()}')",
        "import threading\nthreading.Timer(9, report).start()\nif time.time() < 0:\n    print(1)",
        "import uuid\nrun = f'{time.time()}-{uuid.uuid4().hex[:6]}'\nos.makedirs(run)",
        "class T:\n    def a(self):\n        self.start = time.time()\n    def b(self):\n        print(time.time() - self.start)",
    ],
)  # fmt: skip
def test_stopwatches_names_and_places_of_files_are_no_use(source: str) -> None:
    assert reads(HEAD + source) and {use for _, use in uses(source)} == {""}


@pytest.mark.parametrize(
    ("source", "use"),
    [
        ("random.seed(int(time.time()))", "value"),
        ("def make():\n    return os.getpid()\ntorch.manual_seed(make())", "value"),
        ("part = os.getpid() % 8\nrows = torch.load(f'{part}.pt')", "value"),
        ("class T:\n    def a(s):\n        s.t = time.time()\n    def b(s):\n        s.g['lr'] = time.time() - s.t", "value"),
        ("w = datetime.now().microsecond\nloss = torch.relu(x / w)\nloss.backward()", "value"),
        ("order = sorted(xs, key=lambda x: hash((x, time.time())))", "value"),
        ("stop = time.monotonic() + 5\nwhile time.monotonic() < stop:\n    rows.append(1)", "control"),
        ("import threading\nstop = threading.Event()\nthreading.Timer(9, stop.set)\nwhile not stop.is_set():\n    n = 1", "control"),
        ("import threading\ndef end():\n    global over\n    over = True\nthreading.Timer(9, end).start()\nif over:\n    n = 1", "control"),
        ("import signal\ndef end(*_):\n    T.over = 1\nsignal.signal(signal.SIGALRM, end)\nif T.over:\n    n = 1", "control"),
        ("if datetime.now().hour < 12:\n    rows = rows[::-1]", "control"),
        ("def train(p):\n    return int(hashlib.md5(str(p.resolve()).encode()).hexdigest(), 16) % 10 < 8", "value"),
        ("if 'debug' in os.getcwd():\n    n = 5", "control"),
        ("t0 = time.time()\nsched = LambdaLR(opt, lambda _: min(1, (time.time() - t0) / 60))", "value"),
        ("class Up:\n    def __call__(s, k):\n        return time.time() - 5\nsched = LambdaLR(opt, Up())", "value"),
        ("opt.param_groups[0]['lr'] *= 1 - time.monotonic() / 60", "value"),
        ("ema.mul_(0.5 ** (time.time() - 3))", "value"),
        ("import uuid\nfold = uuid.uuid4().int % 5", "value"),
        ("import uuid\nclass Run:\n    id: uuid.UUID = field(default_factory=uuid.uuid4)\nfold = run.id.int % 5", "value"),
        ("h = hashlib.md5()\nh.update(os.getcwd().encode())\nrandom.seed(h.hexdigest())", "value"),
    ],
)  # fmt: skip
def test_a_value_that_chooses_is_found(source: str, use: str) -> None:
    assert {found for _, found in uses(source)} == {use}


def test_an_order_by_address_is_found() -> None:
    assert [(r.source, r.use, r.line) for r in reads("ps = sorted(model.parameters(), key=id)")] == [
        ("address", "value", 1)
    ]


def test_the_use_has_a_line() -> None:
    (read,) = reads("import os\nseed = os.getpid()\n\nimport random\nrandom.seed(seed)\n")
    assert (read.line, read.used_at) == (2, 5)


def test_a_value_is_followed_into_another_file() -> None:
    clock = "import time\nclass Warm:\n    def rate(self):\n        return time.time() - self.began\n"
    loop = "from clock import Warm\nwarm = Warm()\ngroup['lr'] = 0.1 * warm.rate()\n"
    trees = {"clock.py": ast.parse(clock), "train.py": ast.parse(loop)}
    (read,) = value_flow.reads(trees)["clock.py"]
    assert (read.use, read.used_in, read.used_at) == ("value", "train.py", 3)


def test_a_variable_that_names_the_place() -> None:
    (read,) = reads("import os, random\nrandom.seed(os.environ['HOME'])")
    assert (read.source, read.use) == ("home", "value")


def test_a_file_of_the_user_that_has_the_name_of_a_module_reads_nothing() -> None:
    assert reads("from .time import time\nfrom .ids import id\nseed(time())\nseed(id(1))") == []


def test_a_file_without_reads() -> None:
    assert reads("x = 1") == []
