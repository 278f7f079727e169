"""runs NAME --track: a finished run's epochs, CV and figures for a tracker, wherever the run was made."""

from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

from kit import console
from kit.errors import ConfigError
from kit.run.run import Run
from kit.run.tracked import send_folds
from kit.tracking.tracker import Name
from kit.workspace import Workspace


@dataclass(frozen=True)
class TrackResult:
    run: str
    tracker: str
    folder: Path


def track(workspace: Workspace, name: str, tracker: str) -> TrackResult:
    """Sends it anew, also where it was sent before. Raises `ConfigError` for a tracker that does not exist or is not
    installed."""
    known = get_args(Name)
    if tracker not in known:
        raise ConfigError(f"--track {tracker}: expected {' or '.join(known)}")
    run = Run.named(name, workspace)
    send_folds(run, cast(Name, tracker))
    folder = run.files.folder / tracker
    shown = f"tensorboard --logdir {run.files.folder.parent}" if tracker == "tensorboard" else f"wandb sync {folder}/*"
    console.stage("runs", f"{name}: sent to {tracker}, {folder}; `{shown}` shows it")
    return TrackResult(name, tracker, folder)
