"""train: one model per fold -> `runs/<name>/fold_<k>/` (model.safetensors, metrics.jsonl, last.ckpt)."""

import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kit import console
from kit.assembly.fitting import (
    Setup,
    feed,
    fold_model,
    initial_model,
    measured_workers,
    objective,
    open_training,
    say_pseudo_labels,
    start_file,
    training_rows,
    with_pseudo_labels,
)
from kit.assembly.showing import draw_curves
from kit.competition import Competition
from kit.config import Experiment
from kit.data.table import trainable
from kit.errors import KitError, counted
from kit.machine import default_device
from kit.models.pretrained import weights_file
from kit.randomness import key
from kit.run_folder import experiment_file, freeze, freeze_folds, frozen, same_folds
from kit.training.apart import Failed, run_apart, visible_gpus
from kit.training.decide import decide, describe, training_precision
from kit.training.history import history_of_kept, read_history
from kit.training.loop import OutOfTime, fit
from kit.training.losses import build_loss
from kit.workspace import (
    Fold,
    Workspace,
    file_hash,
    fingerprint,
    is_done,
    lock,
    mark_done,
    read_json,
    sweep_temporaries,
    write_json,
)

VERSION = 2
RUN_PATIENCE = 600.0  # seconds: another process may be making this run


@dataclass(frozen=True)
class TrainResult:
    run: Path
    folds: list[Fold]
    metric: str
    scores: dict[str, float]  # fold -> the validation metric of the epoch that is kept, or of the last one's average
    finished: bool  # False: --max-hours was over first
    seconds: float


def run(
    experiment: Experiment,
    workspace: Workspace,
    folds: list[Fold] | None = None,
    force: bool = False,
    max_hours: float | None = None,
) -> TrainResult:
    """Train the folds (default: all). A killed training goes on where its last checkpoint stands.

    The first training of a run decides precision, memory layout and threads and freezes them, with the folds, into
    the run's folder. `force` trains finished folds again.
    """
    began = time.monotonic()
    deadline = None if max_hours is None else began + max_hours * 3600
    setup = open_training(experiment, workspace, default_device())
    competition, index, device = setup.competition, setup.index, setup.device
    build_loss(competition.task, experiment.train, setup.targets[trainable(index)], competition.num_outputs)
    run_folder = workspace.run(experiment.name)
    with lock(run_folder / ".lock", str(run_folder), patience=RUN_PATIENCE):
        num_images = len(training_rows(setup, 0)) * experiment.train.epochs * experiment.data.num_folds
        experiment = _open_run(experiment, workspace, competition, num_images, device)
        same_folds(experiment, workspace)
    torch.set_num_threads(experiment.train.num_threads or 1)
    setup = replace(setup, experiment=experiment)
    finished, scores = True, {}
    wanted: list[Fold] = list(folds) if folds is not None else list(range(experiment.data.num_folds))
    setup = _announce(setup, workspace, wanted, force)
    try:
        if apart := len(gpus := visible_gpus(device)) > 1 and len(wanted) > 1:
            _train_apart(setup, workspace, wanted, gpus, force, deadline)
        for fold in wanted:
            line = _train_fold(setup, workspace, fold, force and not apart, deadline)
            if line.get(f"valid_{competition.metric}") is not None:
                scores[str(fold)] = line[f"valid_{competition.metric}"]
    except torch.OutOfMemoryError:
        size = experiment.train.batch_size
        raise KitError(
            f"the GPU's memory is too small for train.batch_size {size}; lower it, with another name"
        ) from None
    except OutOfTime:
        finished = False
        again = " without --force" if force else ""
        console.warn(f"--max-hours is over; everything is saved. Type the same command{again} to go on")
        draw_curves(experiment, workspace, competition.metric)
    if len(scores) > 1:
        mean, std = np.mean(list(scores.values())), np.std(list(scores.values()))
        console.stage("train", f"learning curves: {run_folder / 'figures' / 'curves.png'}")
        console.stage("train", f"{len(scores)} folds: {competition.metric} {mean:.4f} ± {std:.4f} (without TTA)")
    return TrainResult(run_folder, wanted, competition.metric, scores, finished, time.monotonic() - began)


def _open_run(
    experiment: Experiment,
    workspace: Workspace,
    competition: Competition,
    num_images: int,
    device: torch.device,
) -> Experiment:
    """The experiment as the run froze it; the first time, decide what is left open and freeze it."""
    existing = frozen(experiment, workspace)
    if existing is not None:
        freeze(existing, workspace)
        console.stage("train", f"run {experiment.name} goes on as it was made: {describe(existing)}")
        return existing
    for name, key_of in ((experiment.model.start, "model.start"), (experiment.train.pseudo_run, "train.pseudo_run")):
        if name is not None and not experiment_file(workspace, name).is_file():
            raise KitError(f"{key_of}: {workspace.run(name)}: no such run; train {name} first")
    torch.manual_seed(key("weights", experiment.seed, 0))
    model = initial_model(experiment, competition)
    train = experiment.train
    if train.layer_decay < 1 or train.head_learning_rate or train.freeze_epochs or train.freeze_layers:
        model.layer_depths()  # refused before anything is made where a model does not tell its layers
    decided, environment = decide(model, experiment, competition.num_outputs, num_images, device, workspace.speeds())
    write_json(workspace.run(experiment.name) / "environment.json", environment)
    freeze_folds(decided, workspace)
    freeze(decided, workspace)
    return decided


def _train_apart(
    setup: Setup, workspace: Workspace, folds: list[Fold], gpus: list[str], force: bool, deadline: float | None
) -> None:
    """The folds on several GPUs, a process each; afterwards they are up to date, or `OutOfTime`."""
    path = experiment_file(workspace, setup.experiment.name)
    common = ["--config", str(path), "--workspace", str(workspace.root), *(["--force"] if force else [])]

    def arguments(fold: Fold) -> list[str] | None:
        if deadline is None:
            return ["train", "--fold", str(fold), *common]
        left = deadline - time.monotonic()
        return ["train", "--fold", str(fold), *common, "--max-hours", f"{left / 3600:.4f}"] if left > 0 else None

    console.stage("train", f"{len(folds)} folds on {len(gpus)} GPUs, one each")
    try:
        torch.cuda.empty_cache()  # what the probe held is the children's to use
        run_apart({f"fold {fold}": partial(arguments, fold) for fold in folds}, gpus)
    except Failed as failed:
        raise KitError(f"{failed.job} failed (above it says why); type the same command to go on") from None
    if deadline is not None and time.monotonic() > deadline:
        raise OutOfTime


def _announce(setup: Setup, workspace: Workspace, folds: list[Fold], force: bool) -> Setup:
    """How long it will take, from the speed that was measured when the run was made; the setup with its workers."""
    train = setup.experiment.train
    epochs, images = 0, 0.0
    for fold in folds:
        place = workspace.fold(setup.experiment.name, fold)
        if force or not (place / ".train.json").is_file():
            left = train.epochs - (0 if force else len(read_history(place)))
            rows = with_pseudo_labels(setup, fold, training_rows(setup, fold))[1]
            epochs, images = epochs + left, images + left * len(rows)
    if epochs == 0:
        return setup
    speed = read_json(workspace.run(setup.experiment.name) / "environment.json")["images_per_second"]
    text = f"{counted(epochs, 'epoch')} of {images / epochs:,.0f} images to go"
    console.stage("train", f"{text}: about {console.duration(images / speed)} at {speed:,.0f} images/s")
    workers = measured_workers(setup, folds[0], speed)
    if workers and setup.experiment.train.num_workers == "auto":
        console.stage("train", f"{counted(workers, 'worker')} prepare the batches")
    return replace(setup, num_workers=workers)


def _train_fold(setup: Setup, workspace: Workspace, fold: Fold, force: bool, deadline: float | None) -> dict[str, Any]:
    experiment, competition = setup.experiment, setup.competition
    folder = workspace.fold(experiment.name, fold)
    stamp, model_file = folder / ".train.json", folder / "model.safetensors"
    own_rows = training_rows(setup, fold)
    setup, rows = with_pseudo_labels(setup, fold, own_rows)
    inputs = _fingerprint(setup, workspace, fold, rows)
    with lock(folder / ".lock", str(folder)):
        sweep_temporaries(folder)
        if force:
            for name in (".train.json", "model.safetensors", "last.ckpt", ".predict.json", "oof.csv", "test.csv"):
                (folder / name).unlink(missing_ok=True)
        if is_done(stamp, inputs, [model_file]):
            console.stage("train", f"fold {fold} is up to date")
            return history_of_kept(read_history(folder), experiment.train)
        if experiment.train.pseudo_run is not None:
            say_pseudo_labels(experiment.train, competition, fold, setup.targets[rows[len(own_rows) :]])
        if (folder / "last.ckpt").is_file() and _started(folder) != inputs:
            raise KitError(
                f"{folder}: holds a training of other images or weights; --force trains it anew, or give the run "
                f"another name"
            )
        write_json(folder / ".started.json", {"inputs": inputs})
        model = fold_model(setup, fold, own_rows)
        history = fit(
            model,
            experiment.train,
            objective(setup, model, rows),
            feed(setup, fold, rows),
            folder,
            training_precision(experiment.train),
            setup.device,
            (experiment.seed, fold),
            {"model": experiment.model.name, "classes": list(competition.classes)},
            f"fold {fold}",
            deadline,
        )
        mark_done(stamp, inputs)
    draw_curves(experiment, workspace, competition.metric)
    return history_of_kept(history, experiment.train)


def _fingerprint(setup: Setup, workspace: Workspace, fold: Fold, rows: np.ndarray) -> str:
    """What decides this fold's weights: images and classes, the experiment's part, the weights file's bytes."""
    experiment = setup.experiment
    weights = experiment.model.weights
    if weights not in {"none", "timm"}:
        weights = file_hash(weights_file(weights))
    images = setup.index.iloc[rows]
    parts = [images["image_id"].tolist(), images["md5"].tolist(), setup.targets[rows].tolist()]
    start = [file_hash(start_file(workspace, experiment, fold))] if experiment.model.start else []
    return fingerprint(VERSION, fold, parts, weights, *start)


def _started(folder: Path) -> str | None:
    file = folder / ".started.json"
    return read_json(file).get("inputs") if file.is_file() else None
