"""Where jobs run. Adding a place is a file beside this one and a line in `RUNNERS`."""

from collections.abc import Callable

from kit.errors import ConfigError, nearest
from kit.runners import gpus, here
from kit.runners.job import Job, Runner

__all__ = ["RUNNERS", "Job", "Runner", "choose_runner"]

RUNNERS: dict[str, Callable[[int], Runner]] = {"here": here.open_runner, "gpus": gpus.open_runner}


def choose_runner(name: str | None, num_jobs: int = 1, gpus_per_job: int = 1) -> Runner:
    """The runner that `--on` names; without a name `gpus` where several jobs can share several GPUs, else `here`.
    Raises `ConfigError` on an unknown name, or where the machine has no such place."""
    if name is None:
        name = "gpus" if num_jobs > 1 and len(gpus.slots(gpus_per_job)) > 1 else "here"
    if name not in RUNNERS:
        raise ConfigError(f"--on {name}: no such place{nearest(name, [*RUNNERS, 'kaggle'])}")
    return RUNNERS[name](gpus_per_job)
