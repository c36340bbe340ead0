"""Children end on request, and whenever their parent ends."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys

import pytest
from detctl_cli.errors import CliError
from detctl_cli.local import children
from detctl_cli.local.children import Child, need

MODULE = """
import os, sys, time, signal
if "deaf" in sys.argv: signal.signal(signal.SIGTERM, signal.SIG_IGN)
fd = os.open(sys.argv[1], os.O_WRONLY)   # a fifo: its reader sees our start, and our end as EOF
os.write(fd, b"up\\n")
if "fail" in sys.argv: sys.exit("could not: \\x1b[1mbad")
while True: time.sleep(60)
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "endless.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}:{':'.join(sys.path)}")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    yield fifo, reader
    os.close(reader)


def wait_up(reader):
    assert select.select([reader], [], [], 60)[0]
    assert os.read(reader, 3) == b"up\n"


def wait_gone(reader):
    assert select.select([reader], [], [], 60)[0]
    assert os.read(reader, 1) == b""


@pytest.mark.parametrize("how", ["obedient", "deaf"])
def test_stop_ends_it(module, tmp_path, how):
    fifo, reader = module
    child = Child("thing", "endless", [str(fifo), how], tmp_path / "log")
    wait_up(reader)
    child.check()
    child.stop(timeout_s=60 if how == "obedient" else 0.2)
    wait_gone(reader)


def test_an_early_end_is_reported_with_the_last_line_of_its_log(module, tmp_path):
    fifo, reader = module
    child = Child("thing", "endless", [str(fifo), "fail"], tmp_path / "log")
    wait_up(reader)
    wait_gone(reader)
    child._process.wait()
    with pytest.raises(CliError) as caught:
        child.check()
    assert caught.value.message == "the thing ended (exit 1): could not: [1mbad"
    child.stop()


def test_it_ends_with_its_parent(module, tmp_path):
    fifo, reader = module
    code = (
        "import sys, time; from pathlib import Path; from detctl_cli.local.children import Child\n"
        "Child('thing', 'endless', [sys.argv[1]], Path(sys.argv[2])); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(fifo), str(tmp_path / "log")])
    wait_up(reader)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_gone(reader)


def test_ctrl_c_before_the_module_is_ready_shows_no_traceback(module):
    fifo, _reader = module
    child, lifeline = children.start_following("endless", [str(fifo)], stderr=subprocess.PIPE)
    child.send_signal(signal.SIGINT)  # its interpreter is still starting
    assert child.communicate(timeout=60)[1] == b""
    assert child.returncode == 128 + signal.SIGINT
    os.close(lifeline)


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(children._NEEDS, "json", ("no_such_module_anywhere",))
    with pytest.raises(CliError) as caught:
        need("json.tool")
    assert caught.value.hint == "pip install 'detctl[all]'"
    with pytest.raises(CliError):
        need("no_such_package.main")
