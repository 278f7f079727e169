"""Processes: the cores that one may use, which of them live, and that one started for another ends with it."""

import ctypes
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

# fork is unsafe on macOS and missing on Windows
START_METHOD = os.environ.get("KIT_START_METHOD") or ("fork" if sys.platform == "linux" else "spawn")
CORES = "KIT_CORES"  # in the environment: how many cores a process that shares the machine with others may use
PARENT = "KIT_PARENT"  # in the environment: the id of the process that this one should end with
GRACE = 10.0  # seconds between asking a process to end and killing it
_PR_SET_PDEATHSIG = 1  # of <sys/prctl.h>


CGROUP, OWN_GROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def _plain(host: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", host).strip("-") or "host"


HOST = _plain(socket.gethostname())


def mark(host: str = HOST, pid: int | str = "") -> str:
    """`host-pid`: names a process, by default this one, in a temporary file, or as the holder of a lock."""
    return f"{_plain(host)}-{pid or os.getpid()}"


def may_live(mark: str) -> bool:
    """Is the process of this mark alive? One on another host may be. (Of older files the mark is a pid alone.)"""
    host, _, pid = mark.rpartition("-")
    if host not in {"", HOST}:
        return True
    return pid.isdecimal() and _is_alive(int(pid))


def _is_alive(pid: int) -> bool:
    if sys.platform == "win32":  # there `os.kill` ends a process, whatever the signal
        handle = ctypes.windll.kernel32.OpenProcess(0x1000, False, pid)  # PROCESS_QUERY_LIMITED_INFORMATION
        return bool(handle and ctypes.windll.kernel32.CloseHandle(handle))
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True


def die_with_parent(kind: int = getattr(signal, "SIGKILL", signal.SIGTERM)) -> None:
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


def end(processes: Iterable["subprocess.Popen[Any]"]) -> None:
    """End those that still run: asked first, so that they can save their state."""
    left = [process for process in processes if process.poll() is None]
    for process in left:
        process.terminate()
    for process in left:
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()


def num_cores() -> int:
    """The cores that this process may use: its affinity, its container's quota, `OMP_NUM_THREADS`, `KIT_CORES`."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    given = [int(value) for value in map(os.environ.get, (CORES, "OMP_NUM_THREADS")) if value and value.isdecimal()]
    return max(1, min([allowed, *_quotas(), *(number for number in given if number)]))


def _quotas() -> Iterator[int]:
    """Whole cores of the control groups that this process is in: version 2's cpu.max, version 1's cfs_quota."""
    lines = OWN_GROUP.read_text().splitlines() if OWN_GROUP.is_file() else []
    inside = next((line.partition("::")[2].strip("/") for line in lines if line.startswith("0::")), "")
    places = [CGROUP / inside, *(CGROUP / inside).parents]
    files = [place / "cpu.max" for place in places if place == CGROUP or CGROUP in place.parents]
    texts = [file.read_text().split() for file in files if file.is_file()]
    old = [CGROUP / "cpu" / f"cpu.cfs_{name}_us" for name in ("quota", "period")]
    texts += [[file.read_text().strip() for file in old]] if all(file.is_file() for file in old) else []
    yield from (max(1, int(quota) // int(period)) for quota, period in texts if quota.isdecimal())
