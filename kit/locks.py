"""Locks between processes, on Linux, macOS and Windows, also where a file system has none (Lustre, SMB, FUSE)."""

import contextlib
import errno
import os
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

from kit.errors import KitError
from kit.processes import HOST, mark, may_live

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # that a system has soft locks only
    from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

_ORPHAN_SECONDS = 15.0  # a killed process's workers hold its locks until they notice
_NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK}


@contextlib.contextmanager
def lock(path: Path, what: str, patience: float = 0.0) -> Iterator[None]:
    """One process at a time; released by the system even when the process is killed. Raises `KitError` where another
    one holds it for more than `patience` seconds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    began, held = time.monotonic(), None
    while held is None:
        before = _words(path)
        try:
            held = _acquire(path)
        except Timeout:
            if len(before) == 1 and not _words(path):  # older filelocks empty flock's file when they only try
                with contextlib.suppress(OSError), path.open("r+", encoding="utf-8") as file:  # it is not made anew
                    file.write(before[0])
            owner, waited = _owner(path), time.monotonic() - began
            alive = not owner or may_live(owner)
            if waited >= max(_ORPHAN_SECONDS, patience) or (waited >= patience and alive):
                left = f"; it has ended: delete {path}" if owner and not alive else ""
                raise KitError(f"{what} is in use by another kit process ({owner or 'unknown'}){left}") from None
            time.sleep(0.2)
    try:
        yield
    finally:
        held.release()


def _acquire(path: Path) -> BaseFileLock:
    """The lock, held; `Timeout` where another process holds it."""
    held: BaseFileLock = FileLock(path)
    try:
        if isinstance(held, SoftFileLock):
            raise NotImplementedError
        held.acquire(timeout=0)
        if len(_words(path)) < 2:  # else the library keeps its own facts there
            with contextlib.suppress(OSError):  # Windows lets nobody write into a locked file
                path.write_text(mark(), encoding="utf-8")
    except (NotImplementedError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
            raise
        held = SoftFileLock(path)  # the file's existence is the lock
        if len(_words(path)) == 1:  # left by `FileLock`, on another file system
            path.unlink(missing_ok=True)
        held.acquire(timeout=0)
        if not _words(path):  # older filelocks write nothing
            path.write_text(f"{os.getpid()}\n{HOST}\n", encoding="utf-8")
    return held


def _owner(path: Path) -> str:
    """The mark of the process that holds a lock, "" where that cannot be read."""
    words = _words(path)
    return mark(words[1], words[0]) if len(words) > 1 else "".join(words)  # a soft lock holds pid and host, and more


def _words(path: Path) -> list[str]:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return path.read_text(encoding="utf-8").split()
    return []
