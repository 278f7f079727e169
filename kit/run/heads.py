"""Heads on a frozen network: features of every image once, then every fold's linear head."""

import copy
import time
from dataclasses import asdict
from functools import cached_property
from typing import Any

import numpy as np
import torch

from kit import console, figures
from kit.artifacts import Artifact, to_make
from kit.data.table import channel_statistics
from kit.errors import ConfigError, counted
from kit.events import Line
from kit.locks import lock
from kit.models import Classifier
from kit.randomness import key
from kit.run.network import initial_model
from kit.run.predicting import check_views, run_features, settle_prediction, view_set
from kit.run.run import Run, RunFold
from kit.run.settling import environment
from kit.settings import Train
from kit.tracking.metrics_file import read_history, write_history
from kit.training.checkpoint import save_model
from kit.training.heads import FittedHeads, Problem, fit_folds
from kit.training.losses import number_scale
from kit.workspace import fingerprint

VERSION = 1
PATIENCE = 3600.0  # seconds: another process may be fitting them


class FrozenHeads:
    """A linear head for each fold, all of them fitted together, each with its own penalty. A fold's penalty is chosen
    by cross-validation on the other folds: its own labels decide nothing."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def check(self) -> None:
        experiment, plain = self.run.experiment, Train()
        train = experiment.train
        if experiment.model.start or train.pseudo_run or experiment.data.extra:
            raise ConfigError("train.mode: features does not go with model.start, train.pseudo_run or data.extra")
        if experiment.data.columns:
            raise ConfigError("train.mode: features fits heads on the pictures alone; set data.columns=false")
        if experiment.data.num_folds < 3:
            raise ConfigError("train.mode: features chooses each fold's penalty on the others: data.num_folds >= 3")
        names = ("loss", "class_weights", "label_smoothing", "mixup", "cutmix")
        ignored = [f"train.{name}" for name in names if getattr(train, name) != getattr(plain, name)]
        if ignored := ignored + (["augment"] if experiment.augment else []):
            console.warn(f"train.mode: features ignores {', '.join(ignored)}: heads minimise the task's plain loss")
        _ = self.rows, self.model  # loads index, folds and weights, so that errors come before a run is made

    @cached_property
    def model(self) -> Classifier:
        torch.manual_seed(key("weights", self.run.experiment.seed, "features"))
        return initial_model(self.run, channel_statistics(self.run.samples.index.iloc[self.rows]))

    @cached_property
    def rows(self) -> np.ndarray:
        return self.run.samples.training_rows("full")

    def settle(self) -> dict[str, Any]:
        check_views(self.run, self.model)
        return environment(self.run)  # how features are computed is settled whenever they are

    def announce(self, folds: list[RunFold], force: bool, existed: bool) -> None:
        """Nothing to announce: it takes seconds."""

    def parts(self, folds: list[RunFold]) -> list[list[RunFold]]:
        return [folds]  # all heads are fitted together

    def line(self, fold: RunFold) -> Line:
        """`head_l2`, the head's penalty, and `valid_loss`; empty where they were not recorded."""
        return next(iter(read_history(fold.files.heads)), {})

    def fit(self, folds: list[RunFold], force: bool = False, _deadline: float | None = None) -> None:
        with lock(self.run.files.lock, str(self.run.files.folder), patience=PATIENCE):
            self._fit_missing(folds, force)

    def _fit_missing(self, folds: list[RunFold], force: bool) -> None:
        run, pixels = self.run, self.run.samples.pixels
        settle_prediction(run, self.model.without_head(), pixels, len(pixels) * len(view_set(run)))
        run.freeze()
        missing = {made.name: made for made in to_make("features", [self._artifact(fold) for fold in folds], force)}
        for full in (False, True):
            part = [fold for fold in folds if fold.title in missing and (fold.number == "full") is full]
            if part:
                fitted, penalties = self._fit(full), {}
                for fold in part:
                    with missing[fold.title].making():
                        penalties[str(fold.number)] = self._write(fold, fitted)
                self._report(fitted, penalties)

    @cached_property
    def _inputs(self) -> str:
        """Images, targets and folds, the network's weights, the penalties, and the views: heads depend on all."""
        samples, rows = self.run.samples, self.rows
        images = [samples.index[name].iloc[rows].tolist() for name in ("image_id", "md5")]
        images.append(samples.targets[rows].tolist())
        weights = {name: value.double().sum().item() for name, value in self.model.state_dict().items()}
        views, tried = [asdict(view) for view in view_set(self.run).views], self.run.experiment.train.head_l2
        return fingerprint(VERSION, images, samples.folds[rows].tolist(), weights, tried, views)

    def _artifact(self, fold: RunFold) -> Artifact:
        return Artifact(fold.title, fold.files.trained, self._inputs, [fold.files.model])

    def _fit(self, full: bool) -> FittedHeads:
        run, rows, penalties = self.run, self.rows, self.run.experiment.train.head_l2
        seen = torch.from_numpy(run_features(run, self.model)[:, rows]).float()
        began, targets = time.monotonic(), torch.from_numpy(run.samples.targets[rows])
        if run.competition.task == "number":
            mean, std = torch.tensor(number_scale(run.samples.targets[rows]))
            targets = (targets - mean) / std
        problem = Problem(seen, targets, run.competition.outputs)
        fitted = fit_folds(problem, run.samples.folds[rows], penalties, full)
        what = f"heads of {counted(len(fitted.paths), 'fold')} and {counted(len(penalties), 'penalty strength')}"
        console.stage("features", f"{what} in {console.duration(time.monotonic() - began)}")
        return fitted

    def _write(self, fold: RunFold, fitted: FittedHeads) -> float:
        """The fold's whole model, network and head; returns the head's penalty."""
        run, place = self.run, 0 if fold.number == "full" else fold.number
        own = copy.deepcopy(self.model)
        if run.competition.task == "number":
            own.set_number_scale(number_scale(run.samples.targets[self.rows]))
        with torch.no_grad():
            own.head().weight.copy_(fitted.weight[place])
            own.head().bias.copy_(fitted.bias[place])
        penalty = fitted.penalties[place]
        line = {"head_l2": penalty}
        if fold.number != "full":
            line["valid_loss"] = float(fitted.paths[place, run.experiment.train.head_l2.index(penalty)])
        write_history(fold.files.heads, [line])
        facts = {"model": run.experiment.model.name, "classes": list(run.competition.classes)}
        save_model(fold.files.model, own.state_dict(), facts)
        return penalty

    def _report(self, fitted: FittedHeads, penalties: dict[str, float]) -> None:
        tried, path = self.run.experiment.train.head_l2, self.run.files.figure("penalties")
        figures.penalties(tried, fitted.paths, penalties, self.run.name, path)
        chosen = ", ".join(f"{fold}: {penalty:g}" for fold, penalty in penalties.items())
        console.stage("features", f"penalties by fold: {chosen}; {path}")
        for end, more in ((min(tried), "smaller"), (max(tried), "larger")):
            if len(tried) > 1 and end in penalties.values():
                console.warn(f"penalty {end:g} was best for a fold: add a {more} one to train.head_l2")
