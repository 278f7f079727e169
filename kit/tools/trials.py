"""A search's trials: each is a run of the experiment with other values, in a folder of the search."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from kit import console, schema
from kit.config import Experiment
from kit.data.transforms import check_augment
from kit.errors import ConfigError, KitError, counted, reason
from kit.events import StopTraining
from kit.metrics.metric import Metric
from kit.models.summary import summarise
from kit.run.files import RunFiles
from kit.run.run import Run
from kit.runners import Job
from kit.search.space import (
    Space,
    around,
    default_space,
    overrides_of,
    parsed_space,
    plain_space,
    read_space,
    shown,
    value_of,
)
from kit.search.study import Study, Tried, ranked
from kit.stages.train import TrainResult, train, trained
from kit.workspace import Fold, read_json, write_json, write_text

MOST_FAILURES = 3  # before any trial has ended well


@dataclass(frozen=True)
class Files:
    """searches/<name>/"""

    folder: Path

    @property
    def lock(self) -> Path:
        return self.folder / ".lock"

    @property
    def experiment(self) -> Path:
        return RunFiles(self.folder).experiment

    @property
    def asked(self) -> Path:
        return self.folder / "search.json"  # the space and the folds

    @property
    def study(self) -> Path:
        return self.folder / "study.db"

    @property
    def best(self) -> Path:
        return self.folder / "best.yaml"

    def trial(self, number: int) -> Path:
        return self.folder / f"trial_{number:03}"

    def figure(self, name: str) -> Path:
        return self.folder / "figures" / f"{name}.png"


def _fitting(experiment: Experiment) -> Space:
    """The default space, without sizes and options that the network does not accept."""
    model, size, space = experiment.model, experiment.data.image_size, default_space(experiment)

    def accepted(size: int, options: dict[str, Any]) -> bool:
        try:
            summarise(model.name, size, **model.options | options)
        except (ConfigError, TypeError):
            return False
        return True

    for name in [one for one in space if one.startswith("model.options.")]:
        if not accepted(size, {name.rpartition(".")[2]: 0.1}):
            del space[name]
    if not all(accepted(one, {}) for one in space["data.image_size"].ends()):
        del space["data.image_size"]
    try:
        for strength in space["augment_strength"].ends() if "augment_strength" in space else ():
            check_augment(experiment.augment, experiment.data.cache_size or size, size, strength)
    except ConfigError:  # a limit that may not be so small, or so large
        del space["augment_strength"]
    return space


class Trials:
    """`run`: the experiment's own, which is not made; `folds`: those that the trials are scored on."""

    def __init__(self, run: Run, space: Space, folds: Sequence[Fold]) -> None:
        self.run, self.space, self.folds = run, space, list(folds)
        self.metric: Metric = run.competition.scoring
        self.files = Files(run.workspace.search(run.name))
        self.study = Study(self.files.study, space, self.metric.higher_is_better, run.asked.seed)

    @classmethod
    def begin(cls, run: Run, given: Path | None, folds: Sequence[Fold]) -> Self:
        """Make the search's folder, or go on in it. `given`: a YAML of the space. Raises `ConfigError` where the search
        in the folder is another one, or where the experiment does not accept the space's values."""
        space = read_space(given) if given is not None else _fitting(run.asked)
        for name, one in space.items():
            for value in one.ends():
                try:
                    run.asked.changed(overrides_of({name: value}))
                except ConfigError as error:
                    raise ConfigError(f"{given or 'the space'}: {name}: {value}: {error}") from None
        space, files = around(space, run.asked), Files(run.workspace.search(run.name))
        asked: dict[str, Any] = {"folds": list(folds), "space": plain_space(space)}
        asked["experiment"] = run.asked.identity()
        if files.asked.is_file() and (before := read_json(files.asked)) != asked:
            changed = ", ".join(key for key in asked if before.get(key) != asked[key])
            advice = "give this one its own name (--set name=...), or delete the folder"
            raise ConfigError(f"{files.folder}: holds a search of another {changed}; {advice}")
        write_text(files.experiment, schema.dump_yaml(schema.to_mapping(run.asked)))
        write_json(files.asked, asked)
        trials = cls(run, space, folds)
        trials.study.begin({name: value_of(run.asked, name) for name in space})
        return trials

    @classmethod
    def reopen(cls, run: Run) -> Self:
        """In another process: the search whose experiment `run` was opened from."""
        files = Files(run.workspace.search(run.name))
        if not files.asked.is_file():
            raise ConfigError(f"{files.folder}: no such search; `kit search` without --trial begins one")
        asked = read_json(files.asked)
        return cls(run, parsed_space(asked["space"], str(files.asked)), asked["folds"])

    def run_of(self, number: int) -> Run:
        """A trial's run; the first one's is the experiment as it is."""
        asked = self.run.asked
        changed = asked.changed(overrides_of(self.study.values(number))) if number else asked
        return Run(replace(changed, name=f"{asked.name}-trial-{number}"), self.run.workspace, self.files.trial(number))

    def run_there(self, number: int) -> Run:
        """A trial's run as it comes back from Kaggle, among the other runs."""
        return Run(self.run_of(number).asked, self.run.workspace)

    def fetch(self, number: int) -> None:
        """Keep a trial that was trained elsewhere."""
        came, own = self.run_there(number).files.folder, self.files.trial(number)
        if came.is_dir() and not own.is_dir():
            came.rename(own)
        self._keep(number, trained(Run(self.run_of(number).asked, self.run.workspace, own), self.folds))
        self._tell(number)
        self._sweep(number)

    def do(self, number: int, deadline: float | None = None) -> None:
        """Train a trial's folds and keep its value; one that fails is kept as a failure. One that the deadline ends is
        gone on with next time."""
        left = None if deadline is None else max(0.0, deadline - time.monotonic()) / 3600
        try:
            run = self.run_of(number)
            titles = [fold.title for fold in run.folds(self.folds)]
            run.listeners = (self.study.listener(number, self.metric.name, titles),)
            result = train(run, self.folds, max_hours=left, on="here")
            if not result.finished:
                return
            self._keep(number, result)
        except StopTraining:
            self.study.give_up(number)
        except KitError as error:
            self.study.give_up(number, reason(error))
        self._tell(number)
        self._sweep(number)

    def _keep(self, number: int, result: TrainResult) -> None:
        values, losses = list(result.scores.values()), list(result.losses.values())
        self.study.end(number, np.mean(values).item(), np.mean(losses).item())

    def _sweep(self, number: int) -> None:
        """A trial's value is in the study, and the best one is trained anew: no weights are kept."""
        for files in RunFiles(self.files.trial(number)).fold_folders():
            files.checkpoint.unlink(missing_ok=True)
            files.model.unlink(missing_ok=True)

    def left(self, num_trials: int) -> list[int | None]:
        """The numbers of those that were begun and have not ended; `None` for each that is to be begun."""
        tried = self.study.tried()
        return [*(one.number for one in tried if one.state == "running"), *[None] * (num_trials - len(tried))]

    def job(self, number: int | None, deadline: float | None) -> Job:
        """A trial to be done; which values it tries is decided when its turn comes, by those that have ended."""

        def late() -> bool:
            return deadline is not None and time.monotonic() > deadline

        def call() -> None:
            if not late():
                self.do(self.study.ask() if number is None else number, deadline)

        def arguments() -> list[str] | None:
            if late():
                return None
            words = ["search", "--config", str(self.files.experiment), "--workspace", str(self.run.workspace.root)]
            words += ["--trial", str(self.study.ask() if number is None else number)]
            return words if deadline is None else [*words, "--hours", f"{(deadline - time.monotonic()) / 3600:.4f}"]

        return Job("trial", call, arguments)

    def best(self) -> Tried | None:
        return next(iter(ranked(self.study.tried(), self.metric.higher_is_better)), None)

    def _tell(self, number: int) -> None:
        tried, name = self.study.tried(), self.metric.name
        one, best = tried[number], self.best()
        values = shown(one.values)
        if one.state == "failed":
            console.warn(f"trial {number} failed: {one.why}; it had {values}")
            if best is None and sum(each.state == "failed" for each in tried) >= MOST_FAILURES:
                raise KitError(f"{self.files.folder}: the first {MOST_FAILURES} trials failed ({one.why})")
            return
        ended = f"{name} {one.value:.4f}" if one.state == "done" else f"stopped after {counted(one.epochs, 'epoch')}"
        so_far = f"best so far {best.value:.4f}, trial {best.number}" if best is not None else "none is done yet"
        console.stage("search", f"trial {number}: {ended} ({so_far}); {'as the config is' if not number else values}")
