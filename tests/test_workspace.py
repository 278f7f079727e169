"""Processes that share a workspace, maybe from several hosts: locks, and what is half-written."""

import errno
import os
import subprocess
import sys
import threading
import time

import pytest
from filelock import FileLock, SoftFileLock

from kit import locks
from kit.errors import KitError
from kit.locks import lock
from kit.processes import HOST, mark, may_live
from kit.workspace import atomic_path, expanded, sweep_temporaries


@pytest.fixture
def ended() -> int:
    """The number of a process that is no more."""
    with subprocess.Popen([sys.executable, "-c", ""]) as done:
        pass
    return done.pid


def _flockless(self, *_, **__):
    raise OSError(errno.ENOSYS, "Function not implemented")


@pytest.mark.parametrize("flock", [True, False])
def test_who_is_patient_gets_the_lock_after_the_other(tmp_path, monkeypatch, flock):
    if not flock and FileLock is not SoftFileLock:  # Lustre, SMB, FUSE; or no fcntl at all
        monkeypatch.setattr(FileLock, "acquire", _flockless)
    held, order = threading.Event(), []

    def other() -> None:
        with lock(tmp_path / ".lock", "it"):
            held.set()
            time.sleep(0.6)
            order.append("other")

    thread = threading.Thread(target=other)
    thread.start()
    assert held.wait(60)
    in_use = rf"it is in use by another kit process \({mark()}\)$"
    with pytest.raises(KitError, match=in_use), lock(tmp_path / ".lock", "it"):
        pass
    with lock(tmp_path / ".lock", "it", patience=30):
        order.append("patient")
    thread.join()
    assert order == ["other", "patient"]


def test_a_killed_process_leaves_no_lock(tmp_path):
    code = "import sys, time; from pathlib import Path; from kit.locks import lock\n"
    code += "with lock(Path(sys.argv[1]), 'it'):\n    print('held', flush=True)\n    time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / ".lock")], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    process.kill()
    process.wait()
    with lock(tmp_path / ".lock", "it"):
        assert locks._owner(tmp_path / ".lock") == mark()


@pytest.mark.parametrize("flock", [True, False])
def test_an_earlier_kits_lock_file_is_taken_over(tmp_path, ended, monkeypatch, flock):
    if not flock and FileLock is not SoftFileLock:
        monkeypatch.setattr(FileLock, "acquire", _flockless)
    for left in (str(ended), f"elsewhere-{ended}"):  # flock's file stays when it is released
        (tmp_path / ".lock").write_text(left)
        with lock(tmp_path / ".lock", "it"):
            assert locks._owner(tmp_path / ".lock") == mark()


def test_what_a_living_process_writes_is_not_swept_away(tmp_path, ended):
    long_ago = time.time() - 2 * 86_400
    kept = [str(os.getpid()), mark(), f"{HOST}-{os.getppid()}", f"elsewhere-{ended}"]
    gone = [str(ended), f"{HOST}-{ended}", f"elsewhere-{os.getpid()}"]
    for name in [*kept, *gone]:
        (tmp_path / f".index.csv.{name}.tmp").touch()
    os.utime(tmp_path / f".index.csv.{gone[-1]}.tmp", (long_ago, long_ago))  # another host's, never finished
    (tmp_path / f".train.{HOST}-{ended}.old").mkdir()
    sweep_temporaries(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {f".index.csv.{name}.tmp" for name in kept}


def test_a_temporary_name_holds_host_and_process(tmp_path):
    with atomic_path(tmp_path / "index.csv") as temporary:
        temporary.touch()
        assert temporary.name == f".index.csv.{HOST}-{os.getpid()}.tmp"
    assert may_live(mark())


def test_without_a_home_folder_nothing_fails(monkeypatch):
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda _: (_ for _ in ()).throw(KeyError("no such user")))
    assert str(expanded("~/.kaggle")) == "~/.kaggle"
    from kit.kaggle.credentials import find_credentials

    find_credentials()


@pytest.mark.skipif(FileLock is SoftFileLock, reason="nothing else writes into a soft lock")
def test_the_lock_of_a_dead_owner_is_waited_for_a_moment_only(tmp_path, monkeypatch, ended):
    """A killed process's workers hold its lock until they notice that it is gone."""
    monkeypatch.setattr(locks, "_ORPHAN_SECONDS", 0.5)
    held = FileLock(tmp_path / ".lock")
    held.acquire()
    (tmp_path / ".lock").write_text(f"{HOST}-{ended}")
    began = time.monotonic()
    with pytest.raises(KitError, match="in use"), lock(tmp_path / ".lock", "it"):
        pass
    assert time.monotonic() - began >= 0.5
    held.release()
