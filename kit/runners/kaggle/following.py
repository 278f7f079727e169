"""A session from its start to its end: pushed when there is room for it, its log as it comes, its status."""

import contextlib
import threading
import time

from kit import console
from kit.errors import KitError
from kit.kaggle.calls import NotThereError
from kit.kaggle.kernels import Kernel, Kernels, RefusedError, Session

POLL = 15.0  # seconds
PATIENCE = 3600.0  # seconds that Kaggle may be out of reach


def start(kernels: Kernels, kernel: Kernel, session: Session | None, poll: float = POLL) -> Session:
    """Push it as the version after `session`, the newest one there; while as many run as Kaggle allows, wait for one of
    them to end. Raises `RefusedError` with Kaggle's reason and the week's quota."""
    waiting = False
    while True:
        try:
            pushed = kernels.push(kernel, before=session.version if session else 0)
            console.stage("kaggle", f"{kernel.slug} started: {kernels.PAGE}/{kernels.owner}/{kernel.slug}")
            return pushed
        except RefusedError as refused:
            if not refused.busy:
                raise RefusedError(f"{refused} ({kernels.quota()})") from None
            if not waiting:
                console.stage("kaggle", f"{refused} Waiting for one of them to end")
            waiting = True
            time.sleep(4 * poll)


def follow(kernels: Kernels, session: Session, poll: float = POLL) -> Session:
    """Say what the session says until it has ended; returns it as it ended. Interrupted, say that it goes on there."""
    try:
        return _follow(kernels, session, poll)
    except BaseException as end:
        if not isinstance(end, Exception):  # Ctrl-C
            console.warn(f"{session.slug} goes on there: `kit kaggle stop {session.slug}` ends it")
        raise


def _follow(kernels: Kernels, session: Session, poll: float) -> Session:
    shown = _Log(kernels)
    now, said = _look(kernels, session, poll), ""
    while now.goes_on:
        if now.status != said:
            console.stage("kaggle", f"{session.slug} (version {session.version}): {now.status.lower()}")
            said = now.status
        if now.status != "QUEUED":
            shown.listen(now)
        time.sleep(poll)
        now = _look(kernels, session, poll)
    shown.listen(now)
    shown.end()
    return now


def _look(kernels: Kernels, session: Session, poll: float) -> Session:
    """As it is now; a network that is away for a while is waited for, since the session goes on."""
    ends = time.monotonic() + PATIENCE
    while True:
        try:
            return kernels.look(session)
        except NotThereError:
            raise KitError(f"{session.slug}: was deleted on Kaggle; the same command starts another") from None
        except KitError as error:
            if time.monotonic() > ends:
                raise
            console.warn(f"{error} ({session.slug} goes on there; asking again)")
            time.sleep(4 * poll)


class _Log:
    """The lines of a log in a thread of its own. Each stream starts anew: what was shown is skipped."""

    def __init__(self, kernels: Kernels) -> None:
        self._kernels, self._count = kernels, 0
        self._thread: threading.Thread | None = None

    def listen(self, session: Session) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._show, args=[session], daemon=True)
            self._thread.start()

    def end(self, seconds: float = 20.0) -> None:
        if self._thread is not None:
            self._thread.join(seconds)

    def _show(self, session: Session) -> None:
        with contextlib.suppress(KitError):  # a log that does not come holds nothing up
            for number, line in enumerate(self._kernels.log(session)):
                if number >= self._count:
                    self._count = number + 1
                    if line.strip():
                        console.say(f"   kaggle | {line.rstrip()}")
