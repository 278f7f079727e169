"""A process that was started for another one ends with it, however that one ends."""

import ctypes
import os
import signal
import sys
import threading
import time

PARENT = "KIT_PARENT"  # in the environment of a process that should end with the process of this number
_PR_SET_PDEATHSIG = 1  # of <sys/prctl.h>


def die_with_parent(kind: int = signal.SIGKILL) -> None:
    """Ask Linux to send this process `kind` when its parent is gone; elsewhere nothing happens."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, kind)


def end_with_parent() -> None:
    """For a process that was started with `PARENT` in its environment: end, by SIGTERM, when that one has ended."""
    parent = os.environ.pop(PARENT, "")
    if not parent.isdecimal():
        return
    die_with_parent(signal.SIGTERM)

    def watch() -> None:  # where the system does not tell, or the parent was gone before it was asked
        while os.getppid() == int(parent):
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
