"""Locks between processes that share a workspace."""

import threading
import time

import pytest

from kit.errors import KitError
from kit.workspace import lock


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
