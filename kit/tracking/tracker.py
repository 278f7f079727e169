"""Trackers: TensorBoard and W&B are told of the epochs, the CV and the figures. Each is a file beside this one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Protocol

from kit import console
from kit.errors import ConfigError, reason
from kit.events import Epoch, Line, Listener

Name = Literal["tensorboard", "wandb"]
EXTRA = "pip install -e '.[trackers]'"


@dataclass(frozen=True)
class Place:
    """Where a tracker writes: `folder` of the run named `run`, in a `project` (the competition); `part` of it: a fold's
    title, or its results. `settings`: the experiment's mapping."""

    folder: Path
    project: str
    run: str
    part: str
    settings: Mapping[str, Any]


class Tracker(Protocol):
    """Opened at a `Place`, which it begins anew."""

    def numbers(self, values: Mapping[str, float], step: int) -> None: ...

    def figure(self, name: str, path: Path) -> None:
        """A PNG."""

    def flush(self) -> None: ...

    def close(self) -> None: ...


def open_tracker(name: Name, place: Place) -> Tracker:
    """Raises `ConfigError` where it is not installed."""
    try:
        opened: Callable[[Place], Tracker] = import_module(f"kit.tracking.{name}").opened
    except ModuleNotFoundError as missing:
        raise ConfigError(f"machine.track: {name} is not installed ({missing.name}); {EXTRA}") from None
    return opened(place)


def listener(name: Name, place: Place) -> Listener:
    """Sends each epoch. A training that goes on sends those before it again, into a log that begins anew."""
    tracker: Tracker | None = None

    def tell(epoch: Epoch) -> None:
        nonlocal tracker
        lines = epoch.history[-1:]
        if tracker is None:
            tracker, lines = open_tracker(name, place), epoch.history
        elif epoch.again:
            return
        send_history(tracker, lines)
        tracker.flush()
        if epoch.history[-1]["epoch"] == epoch.num_epochs:
            tracker.close()

    return tell


def send_history(tracker: Tracker, history: list[Line]) -> None:
    for line in history:
        values = {key: float(value) for key, value in line.items() if key != "epoch" and isinstance(value, int | float)}
        tracker.numbers(values, int(line["epoch"]))


def attempt(name: Name, send: Callable[[], None]) -> bool:
    """Whether it went well; what fails is said and stops nothing."""
    try:
        send()
    except Exception as error:  # whatever a tracker raises
        console.warn(f"{name} was not told: {type(error).__name__}: {reason(error)}")
        return False
    return True
