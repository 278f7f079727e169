"""Weights & Biases: online where its key is known, else offline in runs/NAME/wandb (`wandb sync` sends that later)."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wandb

from kit.tracking.tracker import Place
from kit.workspace import fingerprint


class WeightsAndBiases:
    def __init__(self, place: Place) -> None:
        mode: Any = os.environ.get("WANDB_MODE") or ("online" if wandb.api.api_key else "offline")
        name = f"{place.run} {place.part}"
        self._run = wandb.init(
            project=place.project, group=place.run, name=name, id=fingerprint(place.project, name)[:12],
            dir=str(place.folder), config=dict(place.settings), mode=mode, resume="allow", reinit="create_new",
            settings=wandb.Settings(silent=True, console="off", save_code=False, disable_git=True),
        )  # fmt: skip

    def numbers(self, values: Mapping[str, float], step: int) -> None:
        self._run.log(dict(values), step=step)

    def figure(self, name: str, path: Path) -> None:
        self._run.log({name: wandb.Image(str(path))})

    def flush(self) -> None:
        """It sends by itself."""

    def close(self) -> None:
        self._run.finish()


opened = WeightsAndBiases
