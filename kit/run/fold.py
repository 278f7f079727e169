"""One fold of a run."""

from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd

from kit.data.rows import read_rows
from kit.events import Line
from kit.locks import lock
from kit.run.frozen import Computing
from kit.tracking.metrics_file import read_history
from kit.workspace import Fold, read_json, write_json

if TYPE_CHECKING:  # most verbs need no torch
    from kit.models import Classifier
    from kit.run.run import Run


class RunFold:
    """One fold of a run: its model, its predictions, what they are made from, and its lock."""

    def __init__(self, run: "Run", number: Fold) -> None:
        self.run, self.number, self.files = run, number, run.files.fold(number)
        self.title = f"fold {number}"

    def locked(self) -> AbstractContextManager[None]:
        return lock(self.files.lock, str(self.files.folder))

    @property
    def is_trained(self) -> bool:
        return self.files.trained.is_file()

    @property
    def computing(self) -> Computing:
        """How its training computes: as it began, if it has, else as the run does."""
        begun = read_json(self.files.started) if self.files.started.is_file() else {}
        return Computing(**begun["machine"]) if "machine" in begun else Computing.of(self.run.experiment.machine)

    def begin(self, inputs: str) -> None:
        """Record what a training is made from, before it writes anything else."""
        write_json(self.files.started, {"inputs": inputs, "machine": vars(self.computing)})

    @property
    def history(self) -> list[Line]:
        return read_history(self.files.metrics)

    def model(self) -> "Classifier":
        """The model as its training left it."""
        from kit.models import build_classifier
        from kit.training.checkpoint import load_model

        experiment, competition = self.run.experiment, self.run.competition
        random = replace(experiment.model, weights="none")
        outputs, size = competition.num_outputs, experiment.data.image_size
        channels, columns = competition.num_channels, self.run.column_shape
        built = build_classifier(random, outputs, competition.task, size, channels=channels, columns=columns)
        built.load_state_dict(load_model(self.files.model)[0])
        return built

    def oof(self) -> pd.DataFrame:
        """image_id, fold, targets, predictions of the images that its model never saw."""
        return read_rows(self.files.oof)

    def test(self) -> pd.DataFrame:
        """image_id, predictions of the test images."""
        return read_rows(self.files.test)
