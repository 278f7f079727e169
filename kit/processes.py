"""Processes: how many cores one may use, and how one that was started for another ends with it."""

import ctypes
import os
import signal
import sys
import threading
import time

CORES = "KIT_CORES"  # in the environment: how many cores a process that shares the machine with others may use
PARENT = "KIT_PARENT"  # in the environment: the id of the process that this one should end with
_PR_SET_PDEATHSIG = 1  # of <sys/prctl.h>


def die_with_parent(kind: int = signal.SIGKILL) -> None:
    """Ask Linux to send this process the signal `kind` when its parent is gone; does nothing elsewhere."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, kind)


def end_with_parent() -> None:
    """For a process that was started with `PARENT` in its environment: end, by SIGTERM, when that process has ended."""
    parent = os.environ.pop(PARENT, "")
    if not parent.isdecimal():
        return
    die_with_parent(signal.SIGTERM)

    def watch() -> None:  # where the system does not signal it, or the parent was already gone
        while os.getppid() == int(parent):
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def num_cores() -> int:
    """The cores that this process may use (fewer than the machine's in many containers)."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    given = os.environ.get(CORES, "")
    return min(allowed, int(given)) if given.isdecimal() and int(given) else allowed
