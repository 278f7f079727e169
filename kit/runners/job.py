"""A job, and what a runner is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Job:
    """A piece of work that writes its result into the workspace. `call` does it in this process. `arguments` gives the
    words behind `kit` that do it in another one; it is asked when the job's turn comes, and `None` means that it is too
    late for it."""

    name: str  # "fold 0"
    call: Callable[[], None]
    arguments: Callable[[], Sequence[str] | None]


class Runner(Protocol):
    """A place where jobs are done."""

    def run(self, jobs: Sequence[Job]) -> list[Job]:
        """Do all of them; returns those that it was too late for. Raises what a job raises, or `KitError` with the
        first job whose process failed."""
