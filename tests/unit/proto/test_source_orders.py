"""Places that use the order of a set, and what their values reach."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from detctl_proto.syntax.source.flow import is_dead, reached_by
from detctl_proto.syntax.source.module import Module
from detctl_proto.syntax.source.orders import OrderedUse, ordered_uses
from detctl_proto.syntax.source.sets import Sets


def program(**files: str) -> Sets:
    return Sets([Module(Path(f"{name}.py"), f"{name}.py", ast.parse(text)) for name, text in files.items()])


def uses(**files: str) -> list[OrderedUse]:
    return list(ordered_uses(program(**files)))


USED = {
    "a set in a name": "s = set(words)\nids = {w: i for i, w in enumerate(s)}",
    "filled later": "s = set()\nfor w in words:\n    s.add(w)\nids = list(s)",
    "an attribute": "class V:\n    def __init__(self):\n        self.tags = set()\n    def ids(self):\n        return list(self.tags)",
    "a union with itself": "s = set()\ns = s | {'a'}\nfor x in s: out.append(x)",
    "values of a defaultdict": "from collections import defaultdict\nd = defaultdict(set)\nfor k in d: xs.extend(d[k])",
    "items of a dict of sets": "d = {}\nd['a'] = {'b'}\nfor k, vs in d.items():\n    for v in vs: out.append(v)",
    "a function that returns a set": "def vocab(ws):\n    return {w for w in ws}\nids = list(vocab(ws))",
    "an annotated parameter": "def ids(ws: set[str]):\n    return [w for w in ws]",
    "a difference of keys": "new = a.keys() - b.keys()\nfor k in new: out.append(k)",
    "a global in a function": "TAGS = frozenset(names)\ndef ids():\n    return {t: i for i, t in enumerate(TAGS)}",
    "an item": "s = {'a', 'b'}\nx = s.pop()",
    "an item of an iterator": "x = next(iter(set(ws)))",
    "ties by a key": "ws = sorted(set(text), key=len)",
    "the most frequent": "best = max(set(votes), key=votes.count)",
    "a frame": "import pandas as pd\ndf = pd.DataFrame(columns=list(set(cs)))",
    "a star": "xs = ['pad', *set(ws)]",
    "a method of sets": "xs = list(set(a).union(b))",
    "paths": "import os\nnames = list(set(os.listdir(d)))",
    "unpacked": "a, b = {'x', 'y'}",
    "a bucket": "b = hash(w) % 10",
    "a bucket of a name": "h = abs(hash(w))\nb = h % 10",
    "a bucket of a function": "def h(w):\n    return hash(w)\nb = h(w) % 10",
    "a seed": "import random\nrandom.seed(hash(w))",
    "a seed of a name": "import torch\ns = args.seed or hash(w)\ntorch.manual_seed(s)",
    "an order": "xs = sorted(ws, key=lambda w: hash(w))",
}
HARMLESS = {
    "sorted": "xs = sorted(set(ws))",
    "sorted afterwards": "xs = list(set(ws))\nxs.sort()",
    "membership": "known = set(ws)\nok = [w for w in ws if w in known]",
    "a size": "n = len(set(ws))",
    "integers": "for i in set(range(3)): out.append(i)",
    "integers of len": "for n in {len(w) for w in ws}: out.append(n)",
    "a set of a set": "xs = {f(w) for w in set(ws)}\nn = len(xs)",
    "a loop that fills a set": "seen = set()\nfor w in set(ws): seen.add(w)",
    "another name": "xs = load(ws)\nfor x in xs: out.append(x)",
    "sometimes a list": "xs = set(ws)\nxs = list_of(xs)\nfor x in xs: out.append(x)",
    "a parameter of the same name": "s = set(ws)\ndef f(s):\n    return list(s)",
    "a hash that is compared": "h = hash(w)\nassert h == hash(v)",
    "a hash method with arithmetic": "class A:\n    def __hash__(self):\n        return hash(self.x) % 7",
    "a hash method": "class A:\n    def __hash__(self):\n        return hash(self.x)",
}


@pytest.mark.parametrize("name", USED)
def test_an_order_is_used(name: str) -> None:
    assert uses(train=USED[name])


@pytest.mark.parametrize("name", HARMLESS)
def test_no_order_is_used(name: str) -> None:
    assert uses(train=HARMLESS[name]) == []


def test_where_the_set_is_made() -> None:
    (use,) = uses(train="import vocab\nfrom vocab import TAGS\nids = list(TAGS)", vocab="TAGS = {'a', 'b'}")
    assert (use.line, use.made_file, use.made_line, use.items) == (3, "vocab.py", 1, "hashed")
    (own,) = uses(train="ids = list(set(ws))")
    assert (own.made_file, own.made_line) == ("", 0)


def test_parameters_are_ordered_by_address() -> None:
    (use,) = uses(train="ps = list(set(model.parameters()))")
    assert use.items == "objects"


REACHED = {
    "data": "import torch\nids = {w: i for i, w in enumerate(set(ws))}\nx = torch.tensor([ids[w] for w in text])",
    "data through a function": "def vocab(ws):\n    return list(set(ws))\nv = vocab(ws)\nds = TextDataset(v)",
    "data through a class": "class D:\n    def __init__(self, ws):\n        self.ids = list(set(ws))\n"
    "    def __getitem__(self, i):\n        return self.ids[i]",
    "model": "import torch\nfor name in set(names):\n    layers.append(name)\nm = torch.nn.Sequential(*layers)",
}


@pytest.mark.parametrize("name", REACHED)
def test_what_an_order_reaches(name: str) -> None:
    sets = program(train=REACHED[name])
    use = next(iter(ordered_uses(sets)))
    assert name.partition(" ")[0] in reached_by(sets, use.module, use.node)


@pytest.mark.parametrize(
    "text",
    [
        "print(list(set(ws)))",
        "names = list(set(ws))\nlog.info(names)",
        "classes = list(set(ws))\nx = torch.nn.Linear(4, len(classes))",
        "xs = list(set(ws))\nxs = sorted(xs)\nprint(xs)",
    ],
)
def test_an_order_that_is_only_printed(text: str) -> None:
    sets = program(train="import torch\n" + text)
    assert all(not reached_by(sets, use.module, use.node) for use in ordered_uses(sets))


def test_across_files() -> None:
    sets = program(
        train="import torch\nfrom vocab import build\nids = build(ws)\nx = torch.tensor([ids[w] for w in ws])",
        vocab="def build(ws):\n    return {w: i for i, w in enumerate(set(ws))}\ndef unused(ws):\n    return list(set(ws))",
    )
    used, unused = ordered_uses(sets)
    assert reached_by(sets, used.module, used.node) == {"data", "model"} or "data" in reached_by(
        sets, used.module, used.node
    )
    assert (is_dead(sets, used.module, used.node), is_dead(sets, unused.module, unused.node)) == (False, True)


def test_a_seed_reaches_all_that_is_drawn() -> None:
    sets = program(train="import random\nrandom.seed(hash(w))")
    (use,) = ordered_uses(sets)
    assert reached_by(sets, use.module, use.node) == {"data", "model"}
