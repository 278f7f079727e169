"""Processes that share a workspace: locks, and what is half-written."""

import os
import subprocess
import sys
import threading
import time

import pytest

from kit.errors import KitError
from kit.workspace import lock, sweep_temporaries


def test_who_is_patient_gets_the_lock_after_the_other(tmp_path):
    held, order = threading.Event(), []

    def other() -> None:
        with lock(tmp_path / ".lock", "it"):
            held.set()
            time.sleep(0.6)
            order.append("other")

    thread = threading.Thread(target=other)
    thread.start()
    held.wait()
    with pytest.raises(KitError, match="it is in use by another kit process"), lock(tmp_path / ".lock", "it"):
        pass
    with lock(tmp_path / ".lock", "it", patience=30):
        order.append("patient")
    thread.join()
    assert order == ["other", "patient"]


def test_what_a_living_process_writes_is_not_swept_away(tmp_path):
    with subprocess.Popen([sys.executable, "-c", ""]) as done:
        pass
    for pid in (os.getpid(), os.getppid(), done.pid):
        (tmp_path / f".index.csv.{pid}.tmp").touch()
    (tmp_path / f".train.{done.pid}.old").mkdir()
    sweep_temporaries(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        f".index.csv.{pid}.tmp" for pid in (os.getpid(), os.getppid())
    }
