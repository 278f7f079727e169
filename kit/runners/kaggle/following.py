"""Following a session: its log as it comes, its status until it has ended."""

import threading
import time

from kit import console
from kit.kaggle.kernels import Kernels, Session

POLL = 15.0  # seconds


def follow(kernels: Kernels, session: Session, poll: float = POLL) -> Session:
    """Say what the session says until it has ended; returns it as it ended."""
    shown = _Log(kernels)
    now, said = kernels.look(session), ""
    while now.goes_on:
        if now.status != said:
            console.stage("kaggle", f"{session.slug} (version {session.version}): {now.status.lower()}")
            said = now.status
        if now.status != "QUEUED":
            shown.listen(now)
        time.sleep(poll)
        now = kernels.look(session)
    shown.listen(now)
    shown.end()
    return now


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
        for number, line in enumerate(self._kernels.log(session)):
            if number >= self._count:
                self._count = number + 1
                if line.strip():
                    console.say(f"   kaggle | {line.rstrip()}")
