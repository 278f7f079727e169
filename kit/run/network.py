"""How a fold's network is made and trained: its initial weights, its objective, its batches, the loop."""

import time
from functools import partial
from typing import Any

import torch

from kit import console
from kit.artifacts import Artifact, to_make
from kit.data.columns import names_of
from kit.data.loader import workers_needed
from kit.data.pixels import cores_of
from kit.data.table import channel_statistics
from kit.data.transforms import check_augment
from kit.device.precision import Compute
from kit.errors import ConfigError, KitError, counted
from kit.events import Line
from kit.models import Classifier, build_classifier
from kit.models.pretrained import weights_file
from kit.models.registry import UNKNOWN, Statistics
from kit.processes import num_cores
from kit.randomness import key
from kit.run.drawing import draw_curves
from kit.run.feed import feed_of
from kit.run.files import run_names
from kit.run.predicting import check_views
from kit.run.run import Run, RunFold
from kit.run.settling import (
    environment,
    require_shareable,
    settle_training,
    speed_here,
    tell_how_it_goes_on,
    use_threads,
)
from kit.run.sharing import fit_in_processes
from kit.run.tracked import place_of
from kit.run.training_set import TrainingSet, show_pseudo_labels, training_set
from kit.tracking import LISTENERS
from kit.tracking.tracker import listener
from kit.training.checkpoint import load_model, require_savable
from kit.training.history import history_of_kept
from kit.training.loop import Feed, Output, fit
from kit.training.losses import build_loss, number_scale, validation_loss
from kit.training.share import Share
from kit.training.step import Objective, StepKey, Stepper
from kit.workspace import Fold, file_hash, fingerprint, read_json, sweep_temporaries

VERSION = 2


class Networks:
    """A network for each fold, trained from its first step to its last."""

    def __init__(self, run: Run, share: Share | None = None) -> None:
        """`share`: that of this process, where several train a fold together."""
        wanted = run.experiment.machine.num_workers
        self.run, self.share, self.num_workers = run, share, 0 if wanted == "auto" else wanted
        self._sets: dict[Fold, TrainingSet] = {}

    def check(self) -> None:
        experiment, competition = self.run.experiment, self.run.competition
        size = experiment.data.image_size
        check_augment(
            experiment.augment,
            experiment.data.cache_size or size,
            size,
            experiment.augment_strength,
            competition.num_channels,
        )
        require_shareable(self.run)
        if experiment.data.columns and (experiment.train.mixup or experiment.train.cutmix):
            raise ConfigError("data.columns: mixup and cutmix mix pictures alone; set train.mixup=0 and train.cutmix=0")
        if experiment.data.columns and experiment.data.extra:
            raise ConfigError("data.columns: nothing is known of the pictures of data.extra; use one of them")
        samples = self.run.training_samples
        seen = samples.targets[samples.training_rows("full")]
        build_loss(competition.outputs, experiment.train, seen)

    def settle(self) -> dict[str, Any]:
        run, train = self.run, self.run.experiment.train
        for name, key_of in ((run.experiment.model.start, "model.start"), (train.pseudo_run, "train.pseudo_run")):
            if name is not None and name not in run_names(run.workspace.runs):
                raise KitError(f"{key_of}: {run.workspace.run(name)}: no such run; train {name} first")
        torch.manual_seed(key("weights", run.experiment.seed, 0))
        model = initial_model(run)
        require_savable(model.state_dict())
        if train.layer_decay < 1 or train.head_learning_rate or train.freeze_epochs or train.freeze_layers:
            model.layer_depths()  # refused before anything is made if a model does not define its layers
        num_images = len(run.training_samples.training_rows(0)) * train.epochs * run.experiment.data.num_folds
        settled = settle_training(run, model, num_images)
        check_views(run, model)
        run.settle(settled.experiment)
        return environment(run, settled)

    def training_set(self, fold: RunFold) -> TrainingSet:
        if fold.number not in self._sets:
            self._sets[fold.number] = training_set(fold)
        return self._sets[fold.number]

    def announce(self, folds: list[RunFold], force: bool, existed: bool) -> None:
        """By the speed measured when the run was made, or on this machine; also decides on the loader's workers."""
        train, epochs, images = self.run.experiment.train, 0, 0.0
        for fold in folds:
            if force or not fold.is_trained:
                left = train.epochs - (0 if force else len(fold.history))
                epochs, images = epochs + left, images + left * len(self.training_set(fold).rows)
        if existed:
            tell_how_it_goes_on(self.run, [fold for fold in folds if force or not fold.is_trained])
        if epochs == 0:
            return
        speed = speed_here(self.run, partial(initial_model, self.run))
        text = f"{counted(epochs, 'epoch')} of {images / epochs:,.0f} images to go"
        console.stage("train", f"{text}: about {console.duration(images / speed)} at {console.speed(speed)}")
        self.num_workers = self.workers(folds[0], speed)
        if self.num_workers and self.run.experiment.machine.num_workers == "auto":
            console.stage("train", f"batches prepared by {counted(self.num_workers, 'worker')}")

    def parts(self, folds: list[RunFold]) -> list[list[RunFold]]:
        return [[fold] for fold in folds]

    def line(self, fold: RunFold) -> Line:
        """The epoch whose weights were kept, or the last one where they are an average."""
        return history_of_kept(fold.history, self.run.experiment.train)

    def fit(self, folds: list[RunFold], force: bool = False, deadline: float | None = None) -> None:
        for fold in folds:
            self._fit_one(fold, force, deadline)

    def _fit_one(self, fold: RunFold, force: bool, deadline: float | None) -> None:
        train, files = self.run.experiment.train, fold.files
        made = self.training_set(fold)
        with fold.locked():
            sweep_temporaries(files.folder)
            if force:
                files.clear()
            for artifact in to_make("train", [self._artifact(fold, made)], force):
                if train.pseudo_run is not None:
                    show_pseudo_labels(fold, made)
                begun = read_json(files.started) if files.started.is_file() else {}
                left = files.checkpoint.is_file() or files.model.is_file()
                if left and begun.get("inputs") != artifact.inputs:
                    advice = "--force trains it again, or give the run another name"
                    raise KitError(f"{files.folder}: holds a training on other images or weights; {advice}")
                fold.begin(artifact.inputs)
                use_threads(self.run, fold.computing.num_threads)
                with artifact.making():
                    if fold.computing.gpus_per_fold > 1:
                        fit_in_processes(fold, -(-self.num_workers // fold.computing.gpus_per_fold), deadline)
                    else:
                        self.fit_here(fold, deadline)
                draw_curves(self.run)
            files.checkpoint.unlink(missing_ok=True)  # four times the model, and of no more use

    def fit_here(self, fold: RunFold, deadline: float | None) -> None:
        fit(self.stepper(fold), self.feed(fold), self.output(fold), deadline)

    def _artifact(self, fold: RunFold, made: TrainingSet) -> Artifact:
        """The fold's model: made from images and targets, the weight file's bytes, and the model it starts from."""
        weights = self.run.experiment.model.weights
        if weights not in {"none", "timm"}:
            weights = file_hash(weights_file(weights))
        images = made.samples.index.iloc[made.rows]
        parts = [images["image_id"].tolist(), images["md5"].tolist(), made.targets.tolist()]
        if made.samples.columns is not None:
            parts.append(images[names_of(self.run.competition)].to_numpy(str).tolist())
        start = start_of(fold)
        starts = [file_hash(start.files.model)] if start is not None else []
        inputs = fingerprint(VERSION, fold.number, parts, weights, *starts)
        return Artifact(fold.title, fold.files.trained, inputs, [fold.files.model])

    def model(self, fold: RunFold) -> Classifier:
        """The fold's model with its initial weights, by (seed, fold), normalised by its own training images. With
        `model.start`, that run's model of this fold: it never saw this fold's images either."""
        made, start = self.training_set(fold), start_of(fold)
        torch.manual_seed(key("weights", self.run.experiment.seed, fold.number))
        model = initial_model(self.run, channel_statistics(made.samples.index.iloc[made.own]))
        if start is not None:
            try:
                model.load_state_dict(load_model(start.files.model)[0])
            except RuntimeError as error:
                raise KitError(f"{start.files.model}: another model: {str(error).splitlines()[1].strip()}") from None
        if made.samples.columns is not None:
            model.learn_columns(made.samples.columns[made.own])
        if self.run.competition.task == "number":
            model.set_number_scale(number_scale(made.samples.targets[made.own]))
        return model

    def stepper(self, fold: RunFold, step_key: StepKey | None = None) -> Stepper:
        """The model with its optimizer and objective, ready to train."""
        run, seen, model = self.run, self.training_set(fold).targets, self.model(fold)
        outputs, train = run.competition.outputs, run.experiment.train
        loss = build_loss(outputs, train, seen)
        objective = Objective(loss, validation_loss(outputs, seen), model.activate)
        compute = Compute(run.device, fold.computing.as_precision())
        drawn_by = step_key or (run.experiment.seed, fold.number)
        return Stepper.prepare(model, train, objective, compute, drawn_by, self.share)

    def feed(self, fold: RunFold) -> Feed:
        return feed_of(fold, self.training_set(fold), self.num_workers, self.share)

    def output(self, fold: RunFold) -> Output:
        facts = {"model": self.run.experiment.model.name, "classes": list(self.run.competition.classes)}
        minutes = self.run.experiment.machine.checkpoint_minutes
        if self.share is not None and not self.share.leads:
            return Output(fold.title, fold.files.checkpoint, fold.files.model)
        listeners = [make(fold.files.metrics) for make in LISTENERS]
        listeners += [listener(name, place_of(self.run, fold.title)) for name in self.run.asked.machine.track]
        listeners += self.run.listeners
        return Output(fold.title, fold.files.checkpoint, fold.files.model, facts, minutes, listeners)

    def workers(self, fold: RunFold, images_per_second: float) -> int:
        """How many processes keep up with a network of that speed, measured on a few of the fold's own batches."""
        wanted = self.run.experiment.machine.num_workers
        if wanted != "auto":
            return wanted
        batches = self.feed(fold).batches(0, 0)
        next(batches)
        began, seen = time.perf_counter(), 0
        for batch in batches:
            seen += len(batch)
            if time.perf_counter() - began > 0.5:
                break
        prepared = seen / max(time.perf_counter() - began, 1e-9) if seen else float("inf")
        prepared /= cores_of(self.training_set(fold).samples.pixels)
        return workers_needed(images_per_second, prepared, num_cores(), self.run.device.type != "cpu")


def initial_model(run: Run, fallback: Statistics = UNKNOWN) -> Classifier:
    """The experiment's model; `fallback`: the channels' statistics, where neither config nor weights name any."""
    model, data = run.experiment.model, run.experiment.data
    given = (data.mean, data.std) if data.mean is not None and data.std is not None else None
    statistics, channels = (given, fallback), run.competition.num_channels
    outputs, columns = run.competition.outputs, run.column_shape
    return build_classifier(model, outputs, data.image_size, statistics, channels, columns)


def start_of(fold: RunFold) -> RunFold | None:
    """The fold whose model this one starts from (`model.start`). Raises `KitError` if missing, or of other folds."""
    name = fold.run.experiment.model.start
    if name is None:
        return None
    start = fold.run.earlier(name).fold(fold.number)
    if not start.files.model.is_file():
        raise KitError(f"{start.files.model}: no such file; train run {name} first (model.start)")
    return start
