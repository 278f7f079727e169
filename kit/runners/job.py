"""A job, and what a runner is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Job:
    """A piece of work that writes its result into the workspace. `call` does it in this process. `arguments` returns
    the words after `kit` that do it in another one; it is called when the job's turn comes, and `None` means that it is
    too late."""

    name: str  # "fold 0"
    call: Callable[[], None]
    arguments: Callable[[], Sequence[str] | None]


class Runner(Protocol):
    """A place where jobs run."""

    def run(self, jobs: Sequence[Job]) -> list[Job]:
        """Do all of them; returns those for which it was too late. Raises what a job raises, or `KitError` with the
        first job whose process failed."""
