"""kaggle: what runs there for the kit: list it, read its log, fetch what it left, stop it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kit import console
from kit.errors import ConfigError, KitError, nearest
from kit.kaggle.kernels import Kernels, Session
from kit.run.run import Run
from kit.runners.kaggle import Sessions
from kit.workspace import Fold

PREFIX = "kit-"


@dataclass(frozen=True)
class SessionResult:
    slug: str
    version: int
    status: str


@dataclass(frozen=True)
class DryRunResult:
    folder: Path  # as `kaggle kernels push -p` takes it


def list_sessions() -> list[SessionResult]:
    """The kit's sessions, the newest first, and the week's quota."""
    kernels = Kernels.connect()
    found = [session for slug in kernels.mine(PREFIX) if (session := kernels.find(slug)) is not None]
    rows = [[one.slug, one.version, one.status.lower()] for one in found]
    console.table(f"Sessions of {kernels.owner}", ["slug", "version", "status"], rows)
    console.stage("kaggle", f"{kernels.quota()}")
    return [SessionResult(one.slug, one.version, one.status) for one in found]


def log(slug: str) -> None:
    """The whole log, and what comes while the session runs."""
    kernels = Kernels.connect()
    session, shown = _session(kernels, slug), 0
    while True:
        for number, line in enumerate(kernels.log(session)):
            if number >= shown:
                shown = number + 1
                console.say(line)
        if not kernels.look(session).goes_on:
            return


def fetch(run: Run, folds: list[Fold]) -> None:
    """What the sessions of this experiment left, without starting one."""
    runs = [Run.open(member, run.workspace) for member in run.asked.members] or [run]
    Sessions(runs, folds, run.name).fetch()


def stop(slug: str, confirm: Callable[[str], bool]) -> None:
    """Delete a session: Kaggle knows no other way to stop one. Its output and log go with it."""
    kernels = Kernels.connect()
    session = _session(kernels, slug)
    if not confirm(f"Delete {slug} ({session.status.lower()}) with its output and log?"):
        raise ConfigError(f"{slug}: kept; --yes deletes it without a question")
    kernels.delete(slug)
    console.stage("kaggle", f"{slug} is deleted")


def write(run: Run, folds: list[Fold], hours: float | None, folder: Path) -> DryRunResult:
    """--dry-run: the folder that would be pushed."""
    runs = [Run.open(member, run.workspace) for member in run.asked.members] or [run]
    place = Sessions(runs, folds, run.name, hours).write(folder)
    how = f"`kit kaggle rehearse` runs it here, `kaggle kernels push -p {place}` there"
    console.stage("kaggle", f"dry run: wrote {place}; nothing was pushed; {how}")
    return DryRunResult(place)


def _session(kernels: Kernels, slug: str) -> Session:
    session = kernels.find(slug)
    if session is None:
        raise KitError(f"{slug}: no such session{nearest(slug, kernels.mine(PREFIX))}; `kit kaggle` lists them")
    return session
