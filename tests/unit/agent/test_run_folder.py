"""A full disk is recognised whichever way Python reports it."""

from __future__ import annotations

import errno
import shutil
from types import SimpleNamespace

import pytest
from detctl_agent.errors import AgentError, DiskFullError
from detctl_agent.state.run_folder import disk_error


@pytest.mark.parametrize(("free", "kind"), [(0, DiskFullError), (10 * 1024**3, AgentError)])
def test_a_folder_that_could_not_be_copied(tmp_path, monkeypatch, free, kind):
    """shutil.Error lists the files that failed, with texts instead of numbers."""
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=free))
    error = disk_error(shutil.Error([("a", "b", "[Errno 28] …")]), tmp_path / "run" / "probe")
    assert type(error) is kind


def test_a_file_that_could_not_be_written(tmp_path):
    assert isinstance(disk_error(OSError(errno.ENOSPC, "No space left on device"), tmp_path), DiskFullError)
    assert not isinstance(disk_error(OSError(errno.EACCES, "Permission denied"), tmp_path), DiskFullError)
