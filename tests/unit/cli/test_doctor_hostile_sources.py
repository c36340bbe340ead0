"""`detctl doctor` over sources that are odd, damaged or no sources at all: one line about each, and the others are checked."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from detctl_cli.doctor.rules import RULES, check_program
from detctl_cli.doctor.source import BYTES_MAX, Program, load_program
from detctl_cli.errors import CliError

LISTING = b"import os\nfor name in os.listdir('.'): print(name)\n"

# Sources that cannot be parsed -> part of the message on each.
UNREADABLE = {
    "null bytes": (b"x = 1\n\0\n", "null bytes"),
    "latin-1 without a coding line": ("s = 'é'\n".encode("latin-1"), "codec can't decode"),
    "utf-16": ("x = 1\n".encode("utf-16"), ""),
    "utf-16 without a mark": ("x = 1\n".encode("utf-16-le"), "null bytes"),
    "utf-32": ("x = 1\n".encode("utf-32"), ""),
    "wrong coding line": (b"# coding: ascii\ns = '\xc3\xa9'\n", ""),
    "unknown coding": (b"# coding: klingon\nx = 1\n", "klingon"),
    "undefined coding": (b"# coding: undefined\nx = 1\n", "undefined"),
    "coding of no text": (b"# coding: hex\nx = 1\n", ""),
    "coding against a mark": (b"\xef\xbb\xbf# coding: latin-1\nx = 1\n", ""),
    "deep parentheses": (b"(" * 5000 + b")" * 5000, ""),
    "deep lists": (b"x = " + b"[" * 150 + b"]" * 150 + b"\n" + b"[" * 90_000, ""),
    "deep minus": (b"-" * 100_000 + b"1", ""),
    "deep calls": (b"f(" * 3000 + b")" * 3000, ""),
    "deep blocks": (b"".join(b" " * i + b"if x:\n" for i in range(200)), ""),
    "chain of attributes": (b"x = a" + b".b" * 10_000 + b"\n", ""),
    "long sum": (b"x = " + b"1 + " * 50_000 + b"1\n", ""),
    "huge number": (b"x = " + b"9" * 10_000 + b"\n", "4300 digits"),
    "syntax error": (b"x = 1\ndef f(:\n", "invalid syntax"),
    "python 2": (b"print 'hello'\nexec 'x'\n", "print"),
    "tabs and spaces": (b"if x:\n\ty = 1\n        z = 1\n", "tabs and spaces"),
    "unterminated text": (b"x = '''abc\n", "unterminated"),
    "f-string nesting": (b"x = f'{f\"{f'{1}'}\"}'\n" if sys.version_info < (3, 12) else b"x = f'{'\n", ""),
    "binary": (bytes(range(256)) * 10, ""),
    "pickle": (b"\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00\x8c\x01x.", ""),
    "gzip": (b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", ""),
    "too large": (b"#" * (BYTES_MAX + 1), "is larger than 4 MiB"),
}
# Odd, and Python.
READABLE = {
    "empty": b"",
    "mark": b"\xef\xbb\xbfx = 1\n",
    "coding line": "# coding: latin-1\ns = 'é'\n".encode("latin-1"),
    "form feeds": b"\x0cx = 1\n\x0c\x0c\ny = 2\n",
    "carriage returns": b"x = 1\ry = 2\r\nz = 3\n",
    "lone surrogates": b"x = '\\ud800\\udfff'\nd = {'\\udc80': 1}\nimport random\nrandom.seed('\\ud800')\n",
    "match": b"match x:\n  case {'a': [1, *rest], **more} if rest: pass\n  case None | True: pass\n  case _: pass\n",
    "walrus": b"seed = [y := f(x), y**2, *(z := [1])]\nxs = [last := x for x in xs]\n",
    "decorators": b"@a.b(c)[0]\n" * 500 + b"def f(): pass\n",
    "star imports": b"from os import *\nfrom . import *\nfrom .. import *\nfrom ........... import *\n",
    "imports that go nowhere": b"from "
    + b"." * 5000
    + b" import x\nimport "
    + b"a." * 900
    + b"b\nimport "
    + b"n" * 5000
    + b"\n",
    "odd strings": b"x = b'\\x00' rb'\\d'\nz = u'a' 'b' r'\\d'\ny = '\\d \\N{BULLET}'\n",
    "long line": b"x = [" + b"1, " * 50_000 + b"]\n",
    "long name": b"n" * 100_000 + b" = 1\n",
    "chain of attributes": b"import torch\nx = a"
    + b".b" * 900
    + b"\n"
    + b"a"
    + b".b" * 900
    + b" = torch.Generator()\n",
    "chain of sets": b"for x in " + b"{'a'} | " * 900 + b"{'b'}: pass\n",
    "set made of itself": b"x = x | y\ny = y | x\nfor i in x: pass\nz = z | {'a'}\nfor i in z: pass\n",
    "sets of each other": b"a = b | {'x'}\nb = a | {'y'}\nfor i in a: list(b)\n",
    "empty calls": b"sorted()\nlist()\nset()\nhash()\nabs()\n''.join()\nfor x in range(): pass\nDataLoader()\n",
    "stars": b"f(*a, **b)\nDataLoader(*a, **b)\nsorted(*x)\nset(*y)\ntorch.manual_seed(*s, **t)\nrandom.seed(**k)\n",
    "generator in odd places": b"import torch\ndel (torch.Generator())[0]\nx: torch.Generator() = torch.Generator()\n"
    b"a[torch.Generator()], *b = torch.Generator(), 1\nwith torch.Generator() as g.h[0]: pass\n",
    "async": b"async def f():\n  async for x in {'a'}: pass\n  async with g() as h: pass\n  return [x async for x in y]\n",
    "lambda": b"(lambda *a, b=set(), **c: hash(a) % 3)()\n",
    "switches": b"torch.backends.cudnn.benchmark = x = y.z[0] = True\ntorch.use_deterministic_algorithms()\nTrainer(**{})\n",
    "bytes and numbers": b"torch.set_float32_matmul_precision(1j)\nx = 0xffffffffffffffffffffffff\nhash(1e999) % 2\n",
    "globals": b"def f():\n  global x\n  nonlocal_ = 1\n  x: int\n  return\n",
    "type comments": b"x = 1 # type: ignore[\ny = 2 # type: (\n",
    "exception groups": b"try: pass\nexcept* ValueError: pass\n",
    "import of itself": b"import helper\nfrom helper import helper\nfrom . import helper\n",
}


def written(folder: Path, helper: bytes) -> Path:
    """A script that imports a hostile module, and a good one behind it."""
    (folder / "helper.py").write_bytes(helper)
    (folder / "good.py").write_bytes(LISTING)
    script = folder / "train.py"
    script.write_bytes(b"import helper\nimport good\n")
    return script


def names(program: Program) -> list[str]:
    return [Path(module.shown).name for module in program.modules]


@pytest.mark.parametrize("name", UNREADABLE)
def test_an_unreadable_module_is_named_and_the_others_are_checked(tmp_path, name):
    source, expected = UNREADABLE[name]
    program = load_program(written(tmp_path, source))
    assert names(program) == ["train.py", "good.py"]
    (unread,) = program.unread
    assert unread.shown == str(tmp_path / "helper.py")
    assert unread.why and expected in unread.text and "\n" not in unread.text
    unread.text.encode("utf-8")
    assert [finding.file for finding in check_program(program)] == [str(tmp_path / "good.py")]
    with pytest.raises(CliError) as alone:  # as the script itself it is an error, as ever
        load_program(tmp_path / "helper.py")
    assert alone.value.message == unread.text


@pytest.mark.parametrize("name", READABLE)
def test_odd_python_is_read_and_no_rule_raises(tmp_path, name):
    program = load_program(written(tmp_path, READABLE[name]))
    assert names(program) == ["train.py", "helper.py", "good.py"]
    assert not program.unread
    for rule in RULES:
        for finding in rule(program):
            str(finding.to_dict()).encode("utf-8")


def test_every_rule_meets_all_odd_python_at_once(tmp_path):
    for number, source in enumerate(READABLE.values()):
        (tmp_path / f"part{number}.py").write_bytes(source)
    script = tmp_path / "train.py"
    script.write_bytes(b"".join(b"import part%d\n" % number for number in range(len(READABLE))))
    assert check_program(load_program(script))


def fifo(path: Path) -> None:
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def dangling(path: Path) -> None:
    path.symlink_to("nowhere.py")


def loop(path: Path) -> None:
    path.symlink_to(path.name)


@pytest.mark.parametrize(
    ("make", "expected"),
    [(fifo, "is a named pipe"), (endless, "is a device"), (dangling, "No such file"), (loop, "symbolic link")],
)
def test_what_is_no_file_is_not_opened(tmp_path, make, expected):
    script = written(tmp_path, b"")
    (tmp_path / "helper.py").unlink()
    make(tmp_path / "helper.py")
    program = load_program(script)
    assert names(program) == ["train.py", "good.py"]
    (unread,) = program.unread
    assert expected in unread.why
    with pytest.raises(CliError, match=r"helper\.py"):
        load_program(tmp_path / "helper.py")


def test_a_folder_named_as_a_module_is_none(tmp_path):
    script = written(tmp_path, b"")
    (tmp_path / "helper.py").unlink()
    (tmp_path / "helper.py").mkdir()
    assert names(load_program(script)) == ["train.py", "good.py"]
    with pytest.raises(CliError, match="is a folder"):
        load_program(tmp_path / "helper.py")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_no_permission(tmp_path):
    script = written(tmp_path, b"x = 1\n")
    (tmp_path / "helper.py").chmod(0)
    (unread,) = load_program(script).unread
    assert "Permission denied" in unread.why


def test_imports_in_a_circle_and_names_that_are_not_utf8(tmp_path):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    (folder / "a.py").write_bytes(b"import b\n")
    (folder / "b.py").write_bytes(b"import c, a\n")
    (folder / "c.py").write_bytes(b"from a import *\nimport b, c\n" + LISTING)
    program = load_program(folder / "a.py")
    assert names(program) == ["a.py", "b.py", "c.py"]
    (finding,) = check_program(program)
    assert finding.file.encode("utf-8").endswith(b"caf\\udce9/c.py")


def test_the_command_prints_a_line_for_each_and_exits_1(cli, tmp_path):
    cwd = tmp_path / "cwd"
    (cwd / "train.py").write_bytes(b"import one, two, good\n")
    (cwd / "one.py").write_bytes(b"def f(:\n")
    os.mkfifo(cwd / "two.py")
    (cwd / "good.py").write_bytes(LISTING)
    ran = cli("doctor", "train.py", "--json")
    assert ran.code == 1
    unread = {(found["file"], found["line"]): found for found in ran.json["findings"] if found["rule"] == "unread-file"}
    assert unread[("one.py", 1)]["what"] == "the file was not checked: invalid syntax"
    assert unread[("two.py", None)]["what"] == "the file was not checked: is a named pipe, not a regular file"
    assert ran.json["files"] == ["train.py", "good.py"]
    assert any(found["file"] == "good.py" for found in ran.json["findings"])
