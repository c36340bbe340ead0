"""Lines that remove a cause: the user's own line, changed, or nothing if no such line is known to work."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from detctl_proto.syntax.source.edits import Fix
from detctl_proto.syntax.source.fixes import CAUSES, fix_of
from detctl_proto.syntax.source.listing_fixes import loses_order
from detctl_proto.syntax.source.module import Module
from detctl_proto.syntax.source.sets import Sets

HEAD = (
    "import glob, os, random\nfrom glob import glob as g\nfrom pathlib import Path\nimport numpy as np\nimport torch\n"
)


def module_of(text: str) -> Module:
    return Module(Path("train.py"), "train.py", ast.parse(text))


def fixed(cause: str, body: str, line: int = 1, head: str = HEAD) -> Fix | None:
    text = f"{head}{body}\n"
    module = module_of(text)
    return fix_of(cause, Sets([module]), module, text, head.count("\n") + line)


def new_lines(cause: str, body: str, line: int = 1) -> str | None:
    found = fixed(cause, body, line)
    return None if found is None else "\n".join(found.new)


LISTED = {
    "glob": ('x = glob.glob(os.path.join(d, "*.npz"))', 'x = sorted(glob.glob(os.path.join(d, "*.npz")))'),
    "list of iterdir": ("x = list(Path(d).iterdir())", "x = sorted(Path(d).iterdir())"),
    "a loop": ("for f in os.listdir(d):\n    pass", "for f in sorted(os.listdir(d)):"),
    "a comprehension": (
        "xs = [f for f in os.listdir(d) if f.endswith('a')]",
        "xs = [f for f in sorted(os.listdir(d)) if f.endswith('a')]",
    ),
    "equal keys": (
        "x = sorted(os.listdir(d), key=subject)",
        "x = sorted(os.listdir(d), key=lambda name: (subject(name), name))",
    ),
    "equal keys of a lambda": (
        "x = sorted([os.path.join(d, f) for f in os.listdir(d)], key=lambda p: len(p))",
        "x = sorted([os.path.join(d, f) for f in os.listdir(d)], key=lambda p: (len(p), p))",
    ),
    "equal keys of entries": (
        "x = sorted(os.scandir(d), key=kind)",
        "x = sorted(os.scandir(d), key=lambda name: (kind(name), name.name))",
    ),
    "sorted later by a key": ("x = os.listdir(d)\nx.sort(key=len)", "x = sorted(os.listdir(d))"),
    "a walk": ("for r, ds, fs in os.walk(d):\n    pass", "for r, ds, fs in os.walk(d):\n    ds.sort()\n    fs.sort()"),
    "a walk without folders": (
        "for r, _, fs in os.walk(d):\n  for f in fs:\n    pass",
        "for r, _, fs in os.walk(d):\n  _.sort()\n  fs.sort()",
    ),
    "a walk in a comprehension": (
        "xs = [os.path.join(r, f) for r, _, fs in os.walk(d) for f in fs]",
        "xs = sorted([os.path.join(r, f) for r, _, fs in os.walk(d) for f in fs])",
    ),
    "entries need a key": (
        "for e in os.scandir(d):\n    print(e.name)",
        "for e in sorted(os.scandir(d), key=lambda entry: entry.name):",
    ),
    "a walrus": ("if (fs := glob.glob(p)):\n    pass", "if (fs := sorted(glob.glob(p))):"),
    "a star": ('xs = [*Path(d).rglob("*.png")]', 'xs = [*sorted(Path(d).rglob("*.png"))]'),
    "an alias and a slice": ("a = g(p)[:10]", "a = sorted(g(p))[:10]"),
    "the first": ('x = next(Path(d).glob("*"))', 'x = next(iter(sorted(Path(d).glob("*"))))'),
    "several lines": (
        'paths = (\n    glob.glob("a/*")\n    + glob.glob("b/*")\n)',
        'paths = (\n    sorted(glob.glob("a/*"))\n    + sorted(glob.glob("b/*"))\n)',
    ),
    "a call over several lines": (
        "xs = glob.glob(\n    os.path.join(d, '*'),\n    recursive=True,\n)",
        "xs = sorted(glob.glob(\n    os.path.join(d, '*'),\n    recursive=True,\n))",
    ),
    "a chain": ('xs = list(map(str, Path(d).glob("*.txt")))', 'xs = list(map(str, sorted(Path(d).glob("*.txt"))))'),
    "an index": ("for i, f in enumerate(os.listdir(d)):\n    pass", "for i, f in enumerate(sorted(os.listdir(d))):"),
    "a mapping": (
        "ids = {f: i for i, f in enumerate(os.listdir(d))}",
        "ids = {f: i for i, f in enumerate(sorted(os.listdir(d)))}",
    ),
    "letters of several bytes": (
        'é = [p for p in Path("é").glob("ü")]  # c',
        'é = [p for p in sorted(Path("é").glob("ü"))]  # c',
    ),
    "one line of a function": (
        "def a(d): return [Image(f) for f in os.listdir(d)]",
        "def a(d): return [Image(f) for f in sorted(os.listdir(d))]",
    ),
    "an argument": ("split(glob.glob('*'), train_size=0.7)", "split(sorted(glob.glob('*')), train_size=0.7)"),
    "extend": ("files.extend(Path(d).glob('*'))", "files.extend(sorted(Path(d).glob('*')))"),
}


@pytest.mark.parametrize("name", LISTED)
def test_a_listing_is_sorted(name: str) -> None:
    body, expected = LISTED[name]
    assert new_lines("filesystem-order", body) == expected


@pytest.mark.parametrize(
    ("body", "line", "expected"),
    [
        (
            "with os.scandir(d) as it:\n    for e in it:\n        pass",
            2,
            "    for e in sorted(it, key=lambda entry: entry.name):",
        ),
        ('fs = Path(d).glob("*")\nfor f in fs:\n    pass', 2, "for f in sorted(fs):"),
        ('fs = glob.iglob("*")\nnames = [f for f in fs]', 2, "names = [f for f in sorted(fs)]"),
        (
            'if x:\n    pass\nelif os.listdir(d)[0] == "a":\n    pass',
            3,
            'elif sorted(os.listdir(d))[0] == "a":',
        ),
    ],
)
def test_a_listing_that_is_used_elsewhere(body: str, line: int, expected: str) -> None:
    assert new_lines("filesystem-order", body, line) == expected


@pytest.mark.parametrize(
    "body",
    [
        "x = sorted(os.listdir(d))",
        "x = sorted(glob.glob(p), key=os.path.getmtime)",
        "n = len(os.listdir(d))",
        'fs = Path(d).glob("*")\nnext(fs)',  # a list has no next
        "with os.scandir(d) as it:\n    pass",  # the loop is what must be sorted
        "xs = [Sample(r, f) for r, _, fs in os.walk(d) for f in fs]",  # samples cannot be compared
        "for r, ds, fs in os.walk(d):\n    ds.sort()\n    for f in sorted(fs):\n        pass",
        "tree = list(os.walk(d))",
        "m = re.glob(x)",
        "y = 1",
    ],
)
def test_no_line_is_known_for_a_listing(body: str) -> None:
    assert fixed("filesystem-order", body) is None


HASHED = {
    "enumerate": (
        "ids = {t: i for i, t in enumerate(set(tags))}",
        "ids = {t: i for i, t in enumerate(sorted(set(tags)))}",
    ),
    "list": ("xs = list(set(tags))", "xs = sorted(set(tags))"),
    "tuple": ("xs = tuple(frozenset(tags))", "xs = tuple(sorted(frozenset(tags)))"),
    "the first": ('x = next(iter({"a", "b"}))', 'x = min({"a", "b"})'),
    "join": ('s = " ".join({w for w in ws})', 's = " ".join(sorted({w for w in ws}))'),
    "a loop": ("for c in set(labels):\n    x.append(c)", "for c in sorted(set(labels)):"),
    "ties": ("m = max(set(votes), key=votes.count)", "m = max(sorted(set(votes)), key=votes.count)"),
    "columns": ("df = DataFrame(columns=list(set(c)))", "df = DataFrame(columns=sorted(set(c)))"),
    "a union": ("xs = np.array(list(set(a) | set(b)))", "xs = np.array(sorted(set(a) | set(b)))"),
    "a bucket": ("b = hash(name) % 16", "b = zlib.crc32(str(name).encode()) % 16"),
    "parameters": (
        "for p in set(model.parameters()):\n    x.append(p)",
        "for p in dict.fromkeys(model.parameters()):",
    ),
}


@pytest.mark.parametrize("name", HASHED)
def test_the_order_of_a_set_is_made_certain(name: str) -> None:
    body, expected = HASHED[name]
    assert new_lines("hash-order", body) == expected


def test_an_arbitrary_item_becomes_the_smallest() -> None:
    assert new_lines("hash-order", 's = {"a", "b"}\nx = s.pop()', 2) == "x = min(s)\ns.remove(x)"


def test_a_module_that_the_new_line_needs_is_named() -> None:
    found = fixed("hash-order", "b = hash(name) % 16")
    assert found is not None and found.imports == ("zlib",)
    imported = fixed("hash-order", "b = hash(name) % 16", head="import zlib\n")
    assert imported is not None and imported.imports == ()


@pytest.mark.parametrize(
    ("cause", "body", "line", "expected"),
    [
        ("unseeded-rng", "rng = np.random.default_rng()", 1, "rng = np.random.default_rng(0)"),
        ("unseeded-rng", "SEED = 3\nr = random.Random()", 2, "r = random.Random(SEED)"),
        ("unseeded-rng", "gen = torch.Generator()", 1, "gen = torch.Generator().manual_seed(0)"),
        ("unseeded-rng", "rng = np.random.default_rng(7)", 1, None),
        ("identity-seed", "torch.manual_seed(int(time.time()))", 1, "torch.manual_seed(0)"),
        ("identity-seed", "seed = os.getpid()\ntorch.manual_seed(seed)", 2, "seed = 0"),
        (
            "identity-seed",
            "seed = secrets.randbits(9) if seed is None else seed\ntorch.manual_seed(seed)",
            2,
            "seed = 0 if seed is None else seed",
        ),
        ("identity-seed", "seed = args.seed or os.getpid()\ntorch.manual_seed(seed)", 2, "seed = args.seed or 0"),
        ("identity-seed", "torch.manual_seed(args.seed)", 1, None),
        ("concurrency", "for r in pool.imap_unordered(work, items):\n    pass", 1, "for r in pool.imap(work, items):"),
        ("concurrency", "for f in as_completed(futures):\n    pass", 1, "for f in futures:"),
        ("concurrency", "for f in as_completed({a, b}):\n    pass", 1, None),
        ("data-content", "x = 1", 1, None),
    ],
)
def test_seeds_and_completions(cause: str, body: str, line: int, expected: str | None) -> None:
    assert new_lines(cause, body, line) == expected


def test_every_fix_parses_in_its_file() -> None:
    for cause, rows in (("filesystem-order", LISTED), ("hash-order", HASHED)):
        for body, _ in rows.values():
            found = fixed(cause, body)
            assert found is not None
            lines = f"{HEAD}{body}\n".splitlines()
            assert tuple(lines[found.line - 1 : found.end_line]) == found.old
            ast.parse("\n".join([*lines[: found.line - 1], *found.new, *lines[found.end_line :]]) + "\n")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("x = sorted(os.listdir(d))", True),
        ("n = len(os.listdir(d))", True),
        ("x = sorted(os.listdir(d), key=len)", False),
        ("x = os.listdir(d)", False),
        ("x = os.listdir(d)\nx.sort()", True),
        ("x.a = [f for f in os.listdir(d)]\ny = 3\nx.a = sorted(x.a)", True),
        ("x = os.listdir(d)\nprint(x)\nx.sort()", False),
        ("x = os.listdir(d)\nx.sort(key=len)", False),
        ("x = os.listdir(d)\ny = sorted(x)", False),
        ("x = 1", False),
    ],
)
def test_a_line_that_loses_the_order(body: str, expected: bool) -> None:
    assert loses_order(module_of(f"import os\n{body}\n"), 2) is expected


@pytest.mark.parametrize("cause", CAUSES)
def test_odd_sources_are_no_trouble(cause: str) -> None:
    for body in ("x = " + "1 + " * 2000 + "1", "a" + ".b" * 900 + " = glob.glob(p)", "f(" * 80 + ")" * 80, ""):
        fixed(cause, body)


@pytest.mark.parametrize("between", ["\f\n", "s = '\x0b\u2028'\n", "\r\n", "\r"])
def test_lines_are_counted_as_python_counts_them(between: str) -> None:
    head = f"import os\n{between}"
    text = f"{head}x = os.listdir(d)\n"
    module = module_of(text)
    found = fix_of("filesystem-order", Sets([module]), module, text, module.tree.body[-1].lineno)
    assert found is not None and (found.old, found.new) == (("x = os.listdir(d)",), ("x = sorted(os.listdir(d))",))
