"""Locks between processes, on Linux, macOS and Windows, also where a file system has none (Lustre, SMB, FUSE)."""

import contextlib
import errno
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from kit.errors import KitError
from kit.processes import mark, may_live

_ORPHAN_SECONDS = 15.0  # a killed process's workers hold its locks until they notice
_NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK}


@contextlib.contextmanager
def lock(path: Path, what: str, patience: float = 0.0) -> Iterator[None]:
    """One process at a time; released by the system even when the process is killed. Raises `KitError` where another
    one holds it for more than `patience` seconds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    began, held = time.monotonic(), None
    while held is None:
        try:
            held = _acquire(path)
        except Timeout:
            owner, waited = _owner(path), time.monotonic() - began
            alive = " " in owner or may_live(owner)  # the library itself breaks a dead one's lock
            if waited >= max(_ORPHAN_SECONDS, patience) or (waited >= patience and alive):
                raise KitError(f"{what} is in use by another kit process ({owner or 'unknown'})") from None
            time.sleep(0.2)
    try:
        yield
    finally:
        held.release()


def _acquire(path: Path) -> BaseFileLock:
    """The lock, held; `Timeout` where another process holds it."""
    held: BaseFileLock = FileLock(path)
    try:
        held.acquire(timeout=0)
        if len(_owner(path).split()) < 2:  # else the library keeps its own facts there
            with contextlib.suppress(OSError):  # Windows lets nobody write into a locked file
                path.write_text(mark(), encoding="utf-8")
    except (NotImplementedError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
            raise
        held = SoftFileLock(path)  # the file's existence is the lock
        held.acquire(timeout=0)
    return held


def _owner(path: Path) -> str:
    """The mark of the process that holds a lock, "" where that cannot be read."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return " ".join(path.read_text(encoding="utf-8").split())
    return ""
