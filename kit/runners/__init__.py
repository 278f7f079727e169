"""Where jobs run. Adding a place is a file beside this one and a line in `RUNNERS`."""

from collections.abc import Callable

from kit.errors import ConfigError, nearest
from kit.runners import gpus, here
from kit.runners.job import Job, Runner

__all__ = ["RUNNERS", "Job", "Runner", "address_of", "choose_runner", "is_cluster", "require_place"]

RUNNERS: dict[str, Callable[[int], Runner]] = {"here": here.open_runner, "gpus": gpus.open_runner}


def is_cluster(name: str | None) -> bool:
    """`ray`, or `ray:ADDRESS`"""
    return name is not None and name.partition(":")[0] == "ray"


def require_place(name: str | None) -> None:
    """Raise `ConfigError` where `--on` names no place, or one that this machine does not have; nothing begins there."""
    if is_cluster(name):
        from kit.runners.ray import require_head

        require_head(address_of(name or ""))
    elif name is not None and name not in RUNNERS:
        raise ConfigError(f"--on {name}: no such place{nearest(name, [*RUNNERS, 'ray', 'kaggle'])}")
    elif name is not None:
        RUNNERS[name](1)


def choose_runner(name: str | None, num_jobs: int = 1, gpus_per_job: int = 1) -> Runner:
    """The runner that `--on` names; without a name `gpus` where several jobs can share several GPUs, else `here`.
    Raises `ConfigError` on an unknown name, or where the machine has no such place."""
    if name is None:
        name = "gpus" if num_jobs > 1 and len(gpus.slots(gpus_per_job)) > 1 else "here"
    if is_cluster(name):
        from kit.runners.ray import Cluster

        return Cluster(address_of(name), gpus_per_job)
    if name not in RUNNERS:
        require_place(name)
    return RUNNERS[name](gpus_per_job)


def address_of(name: str) -> str | None:
    """`ray:10.0.0.1:6379` -> `10.0.0.1:6379`"""
    return name.partition(":")[2] or None
