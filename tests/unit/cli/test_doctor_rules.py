"""Findings of doctor in sources, and what it accepts."""

from __future__ import annotations

import pytest
from detctl_cli.doctor.rules import check_program, flags, generators, hashes, identity, listings, loaders, transforms
from detctl_cli.doctor.source import Program, load_program, parse_text
from detctl_cli.errors import CliError


def program_of(text):
    module = parse_text(text)
    return Program((module,), frozenset(name for _, name in module.calls() if name))


def found(rule, text):
    return [(finding.level, finding.rule, finding.line) for finding in rule(program_of(text))]


LISTED = [
    "import os\nfor name in os.listdir(d): files.append(name)",
    "from os import listdir as ls\nfiles = [f for f in ls(d) if f.endswith('.png')]",
    "import glob\nreturn_ = glob.glob('*.png')[0]",
    "from glob import glob\ndata = list(glob('*'))",
    "from pathlib import Path\nfiles = list(Path(d).iterdir())",
    "from pathlib import Path\nfiles = [p for p in Path(d).rglob('*.png')]",
    "import os\nwith os.scandir(d) as entries: pass",
    "import os\ndef f():\n    return os.listdir(d)",
    "import os\nif True:\n    names = os.listdir(d)",
    "import os\nnames = [n for n in os.listdir(d)]\nif sort:\n    names.sort()",
    "import os\nnames = os.listdir(d)\nnames = sorted(names) if sort else names",
]


@pytest.mark.parametrize("text", LISTED)
def test_unsorted_listings(text):
    assert [(level, rule) for level, rule, _ in found(listings.unsorted_listings, text)] == [
        ("warn", "filesystem-order")
    ]


@pytest.mark.parametrize(
    "text",
    [
        "import os\nfiles = sorted(os.listdir(d))",
        "import os\nfiles = sorted(f for f in os.listdir(d) if f.endswith('.png'))",
        "import os\nfiles = os.listdir(d)\nfiles.sort()",
        "import os\ndef f():\n    names = [n for n in os.listdir(d)]\n    return sorted(names)",
        "import os\nfiles = []\nfor f in os.listdir(d):\n    files.append(f)\nfiles.sort()",
        "import os\nif 'x' in os.listdir(d): pass",
        "import os\nif os.listdir(d): pass",
        "import os\nn = len(os.listdir(d))",
        "import os\nknown = set(os.listdir(d))",
        "import os\nknown = {f for f in os.listdir(d)}",
        "from pathlib import Path\nlast = max(Path(d).glob('*.pt'))",
        "import glob\nfiles = sorted(glob.glob('*'), key=str.lower)",
        "from natsort import natsorted\nimport os\nfiles = natsorted(os.listdir(d))",
        "import os\nif os.path.isdir(d):\n    names = os.listdir(d)\n    names.sort()",
        "import os\nos.listdir",
    ],
)
def test_listings_whose_order_does_not_matter(text):
    assert found(listings.unsorted_listings, text) == []


def test_os_walk_is_an_info():
    assert found(listings.unsorted_listings, "import os\nfor a, b, c in os.walk(d): print(c)") == [
        ("info", "filesystem-order", 2)
    ]
    assert (
        found(listings.unsorted_listings, "import os\nfor a, b, c in os.walk(d):\n    b.sort()\n    x = sorted(c)")
        == []
    )


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("import random\nx = random.random()\nrandom.shuffle(y)", [2]),
        ("import random\nrandom.seed(0)\nx = random.random()", []),
        ("import numpy as np\nx = np.random.rand(3)", [2]),
        ("import numpy as np\nnp.random.seed(0)\nx = np.random.rand(3)", []),
        ("from sklearn.model_selection import train_test_split\na, b = train_test_split(x)", [2]),
        ("from sklearn.model_selection import train_test_split\na, b = train_test_split(x, random_state=0)", []),
        ("import torch\nx = torch.randn(3)", [2]),
        ("import torch\nmodel = torch.nn.Linear(1, 1)", [1]),
        ("import torch\ntorch.manual_seed(1)\nmodel = torch.nn.Linear(1, 1)", []),
        ("import torch, random, numpy\nfrom lightning import seed_everything\nseed_everything(1)\nrandom.random()", []),
        ("import torch\nprint(torch.__version__)", []),
    ],
)
def test_libraries_that_nothing_seeds(text, lines):
    assert [line for _, _, line in found(generators.unseeded_modules, text)] == lines


@pytest.mark.parametrize(
    ("text", "warned"),
    [
        ("import numpy as np\nr = np.random.default_rng()", True),
        ("from numpy.random import default_rng\nr = default_rng(None)", True),
        ("import numpy as np\nr = np.random.default_rng(0)", False),
        ("import numpy as np\nr = np.random.default_rng(seed=seed)", False),
        ("import random\nr = random.Random()", True),
        ("import random\nr = random.Random(3)", False),
        ("import torch\ng = torch.Generator()", True),
        ("import torch\ng = torch.Generator()\ng.manual_seed(0)", False),
        ("import torch\ng = torch.Generator().manual_seed(0)", False),
        ("import torch\nself.g = torch.Generator(device='cpu')\nself.g.manual_seed(0)", False),
        ("import albumentations as A\naug = A.Compose([])", True),
        ("import albumentations as A\naug = A.Compose([], seed=3)", False),
        ("import albumentations as A\naug = A.Compose([], **options)", False),
        ("import optuna\nstudy = optuna.create_study(direction='maximize')", True),
        ("import optuna\nstudy = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=1))", False),
        ("import optuna\nstudy = optuna.create_study(sampler=optuna.samplers.TPESampler())", True),
        ("import os\nx = os.urandom(4)", True),
        ("import random\nr = random.SystemRandom()", True),
    ],
)
def test_private_generators(text, warned):
    assert bool(found(generators.unseeded_generators, text)) is warned


@pytest.mark.parametrize(
    ("text", "warned"),
    [
        ("import time, torch\ntorch.manual_seed(int(time.time()))", True),
        ("import time, torch\nseed = int(time.time()) % 100\ntorch.manual_seed(seed)", True),
        ("import os, random\nrandom.seed(os.getpid())", True),
        ("import random\nrandom.seed()", True),
        ("import random, uuid\nrandom.seed(uuid.uuid4().int)", True),
        ("import random\nrandom.seed(hash('name'))", True),
        ("import time, torch\nstart = time.time()\ntorch.manual_seed(args.seed)", False),
        ("import random\nrandom.seed(42)", False),
        ("import random\nrandom.seed(hash(42))", False),
        ("import socket, torch\ng.manual_seed(len(socket.gethostname()))", True),
    ],
)
def test_seeds_of_identity(text, warned):
    assert bool(found(identity.identity_seeds, text)) is warned


@pytest.mark.parametrize(
    ("text", "warned"),
    [
        ("for c in set(names): print(c)", True),
        ("for c in {'a', 'b'}: print(c)", True),
        ("classes = list(set(labels))", True),
        ("classes = list(set(labels))\nclasses.sort()", False),
        ("classes = list(set(labels))\nothers.sort()", True),
        ("names = {n for n in x}\nfor i, n in enumerate(names): pass", True),
        ("ids = {c: i for i, c in enumerate(set(labels))}", True),
        ("text = ','.join({'a', 'b'})", True),
        ("for c in sorted(set(names)): print(c)", False),
        ("n = len(set(names))", False),
        ("ok = x in {'a', 'b'}", False),
        ("for c in {1, 2}: print(c)", False),
        ("total = sum(f(x) for x in set(names))", False),
        ("for c in ['a', 'b']: print(c)", False),
        ("names = ['a']\nfor n in names: pass", False),
    ],
)
def test_orders_of_sets(text, warned):
    assert bool(found(hashes.set_order, text)) is warned


def test_hash_as_a_bucket():
    assert found(hashes.string_hash, "split = hash(name) % 10") == [("warn", "hash-order", 1)]
    assert found(hashes.string_hash, "split = abs(hash(name)) % 10") == [("warn", "hash-order", 1)]
    assert found(hashes.string_hash, "def __hash__(self): return hash(self.x)") == []


@pytest.mark.parametrize(
    ("arguments", "level"),
    [
        ("d, num_workers=4", "warn"), ("d, 8, True, None, None, 2", "warn"), ("d, num_workers=args.workers", "info"),
        ("d, num_workers=4, worker_init_fn=f", "info"), ("d, num_workers=4, worker_init_fn=f, generator=g", None),
        ("d, num_workers=0", None), ("d", None), ("d, num_workers=4, **kw", None),
    ],
)  # fmt: skip
def test_worker_seeding(arguments, level):
    text = f"from torch.utils.data import DataLoader\nx = DataLoader({arguments})"
    assert [item[0] for item in found(loaders.worker_seeding, text)] == ([level] if level else [])


def test_workers_by_machine():
    text = "import os, torch\nx = torch.utils.data.DataLoader(d, num_workers=min(8, os.cpu_count()))"
    assert found(loaders.workers_by_machine, text) == [("warn", "worker-count", 2)]
    assert found(loaders.workers_by_machine, text.replace("os.cpu_count()", "4")) == []


@pytest.mark.parametrize(
    ("text", "warned"),
    [
        ("import torch", True),
        ("import torch\ntorch.use_deterministic_algorithms(True)", False),
        ("import torch\nfrom detctl_probe import set_deterministic\nset_deterministic(0)", False),
        ("import torch\nimport lightning as L\nL.Trainer(deterministic=True)", False),
        ("import torch\nimport lightning as L\nL.Trainer()", True),
        ("import numpy", False),
    ],
)
def test_deterministic_algorithms(text, warned):
    assert bool(found(flags.deterministic_algorithms, text)) is warned


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("torch.backends.cudnn.benchmark = True", "nondeterministic-kernel"),
        ("torch.backends.cudnn.benchmark = False", None),
        ("torch.backends.cudnn.deterministic = False", "nondeterministic-kernel"),
        ("torch.backends.cuda.matmul.allow_tf32 = True", "precision-mode"),
        ("torch.backends.cudnn.allow_tf32 = flag", None),
        ("torch.set_float32_matmul_precision('high')", "precision-mode"),
        ("torch.set_float32_matmul_precision('highest')", None),
        ("torch.use_deterministic_algorithms(False)", "nondeterministic-kernel"),
    ],
)
def test_switches(line, rule):
    assert [item[1] for item in found(flags.risky_switches, f"import torch\n{line}")] == ([rule] if rule else [])
    if rule:
        aliased = line.replace("torch.backends.cudnn", "cudnn")
        text = f"import torch\nfrom torch.backends import cudnn\n{aliased}"
        assert [item[1] for item in found(flags.risky_switches, text)] == [rule]


def test_random_transforms():
    text = "from torchvision import transforms as T\nt = T.Compose([T.RandomCrop(3), T.ToTensor(), T.ColorJitter()])"
    (finding,) = transforms.random_transforms(program_of(text))
    assert (finding.level, finding.what) == ("info", "random transforms: RandomCrop, ColorJitter")
    text = "from torchvision.transforms import v2\nt = v2.RandomHorizontalFlip()"
    assert len(found(transforms.random_transforms, text)) == 1
    assert found(transforms.random_transforms, "from mine import RandomCrop\nRandomCrop(3)") == []


CLEAN = """
import os, random
import numpy as np
import torch
from torch.utils.data import DataLoader

def main(seed):
    random.seed(seed); np.random.seed(seed); torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    files = sorted(os.listdir("data"))
    rng = np.random.default_rng(seed)
    g = torch.Generator().manual_seed(seed)
    loader = DataLoader(files, num_workers=2, generator=g, worker_init_fn=init)
    model = torch.nn.Linear(1, 1)
"""


def test_a_clean_script_has_nothing_to_warn_of():
    assert check_program(program_of(CLEAN)) == []


def test_local_imports_are_read_with_their_own_lines(tmp_path):
    (tmp_path / "train.py").write_text("from lib.data import files\nimport helper, json\n")
    (tmp_path / "helper.py").write_text("import train\nfrom .absent import x\n")
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/__init__.py").write_text("from . import more\n")
    (tmp_path / "lib/more.py").write_text("")
    (tmp_path / "lib/data.py").write_text("import os\n\nfiles = os.listdir('.')\n")
    program = load_program(tmp_path / "train.py")
    names = {module.path.relative_to(tmp_path).as_posix() for module in program.modules}
    assert names == {"train.py", "helper.py", "lib/__init__.py", "lib/more.py", "lib/data.py"}
    (finding,) = check_program(program)
    assert finding.place == f"{tmp_path}/lib/data.py:3"


def test_a_syntax_error_has_file_and_line(tmp_path):
    (tmp_path / "bad.py").write_text("x = 1\ndef f(:\n")
    with pytest.raises(CliError, match=r"bad\.py:2: "):
        load_program(tmp_path / "bad.py")
    (tmp_path / "bytes.py").write_bytes(b"x = '\xff'\n")
    with pytest.raises(CliError, match=r"bytes\.py"):
        load_program(tmp_path / "bytes.py")
