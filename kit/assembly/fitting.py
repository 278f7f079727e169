"""For training: one fold's images, its model, its loss."""

import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from kit import console
from kit.assembly.opening import open_data
from kit.competition import Competition
from kit.config import Experiment, Train
from kit.data.cache import Joined, Pixels, experiment_pixels
from kit.data.extra import extra_index
from kit.data.loader import Batches, epoch_order, workers_needed
from kit.data.table import channel_statistics, labelled_test, predictions, read_rows, readable, targets, trainable
from kit.data.transforms import build_augment, check_augment
from kit.errors import ConfigError, KitError, examples
from kit.machine import default_device, num_cores
from kit.models import Classifier, build_classifier
from kit.randomness import key
from kit.scoring.metrics import score
from kit.training.checkpoint import load_model
from kit.training.decide import decide
from kit.training.loop import Feed
from kit.training.losses import build_loss, number_scale, validation_loss
from kit.training.step import Objective
from kit.workspace import Fold, Workspace


@dataclass(frozen=True)
class Setup:
    """What all folds share. `folds` int64 (N,), `pixels` uint8 (N, S, S, 3), `targets` as in `data.table`."""

    experiment: Experiment
    competition: Competition
    index: pd.DataFrame
    folds: np.ndarray
    pixels: Pixels
    targets: np.ndarray
    device: torch.device
    workspace: Workspace  # holds the runs that `model.start` and `train.pseudo_run` name
    num_workers: int = 0


def open_training(experiment: Experiment, workspace: Workspace, device: torch.device) -> Setup:
    """The experiment's data as training sees it: with its extra pictures (`data.extra`) behind the competition's."""
    size = experiment.data.image_size  # a wrong line is refused before anything is made
    check_augment(experiment.augment, experiment.data.cache_size or size, size)
    data = open_data(experiment, workspace)
    index, folds = data.index, data.folds
    pixels: Pixels = data.pixels
    if experiment.data.extra is not None:
        extra = extra_index(Path(experiment.data.extra).expanduser(), data.competition, index, workspace)
        if len(extra):  # none where all are copies of the competition's own
            pixels = Joined(data.pixels, experiment_pixels(workspace, data.competition, experiment, extra))
            index, folds = pd.concat([index, extra], ignore_index=True), np.append(folds, np.full(len(extra), -1))
    answers = targets(index, data.competition)
    return Setup(experiment, data.competition, index, folds, pixels, answers, device, workspace)


def trial_setup(experiment: Experiment, workspace: Workspace) -> Setup:
    """The setup of something to try that is no run: decided for this machine, nothing frozen."""
    if experiment.members:
        raise ConfigError(f"members: {experiment.name} is a blend; name one of {', '.join(experiment.members)}")
    setup = open_training(experiment, workspace, default_device())
    num_images = len(setup.folds) * experiment.train.epochs
    model, outputs = initial_model(experiment, setup.competition), setup.competition.num_outputs
    decided, _ = decide(model, experiment, outputs, num_images, setup.device, workspace.speeds())
    return replace(setup, experiment=decided)


def training_rows(setup: Setup, fold: Fold) -> np.ndarray:
    """Rows of the index that this fold's model learns from, but for pseudo-labelled ones."""
    own = trainable(setup.index) if fold == "full" else (setup.folds >= 0) & (setup.folds != fold)
    return np.flatnonzero(own | (setup.index["split"] == "extra").to_numpy())


def with_pseudo_labels(setup: Setup, fold: Fold, rows: np.ndarray) -> tuple[Setup, np.ndarray]:
    """The setup with test images as the teacher sees them, and the training rows with those it is sure of.

    The teacher is `pseudo_run`'s model of this very fold: no image that scores this fold had a part in its labels.
    Test images that are near-identical to one of those stay out.
    """
    train, competition = setup.experiment.train, setup.competition
    if train.pseudo_run is None:
        return setup, rows
    if competition.task not in {"classes", "ordinal"}:
        raise ConfigError(
            f"train.pseudo_run: needs classes, one an image; this competition's task is {competition.task}"
        )
    file = setup.workspace.fold(train.pseudo_run, fold) / "test.csv"
    if not file.is_file():
        raise KitError(f"{file}: no such file; train and predict run {train.pseudo_run} first (train.pseudo_run)")
    require_same_folds(setup.workspace, setup.experiment.name, train.pseudo_run)
    teacher = Experiment.load(setup.workspace.run(train.pseudo_run) / "experiment.yaml").competition
    if Competition.load(teacher).name != competition.name:
        raise ConfigError(f"train.pseudo_run: run {train.pseudo_run} is of {teacher}, not of {competition.name}")
    said = predictions(table := read_rows(file), competition)
    sure = said.max(axis=1) >= train.pseudo_threshold
    label_of = dict(zip(table.loc[sure, "image_id"], said[sure].argmax(axis=1), strict=True))
    index, scored = setup.index, setup.folds == fold
    free = (index["split"] == "test").to_numpy() & readable(index) & ~labelled_test(index)  # those are for scores
    free &= ~index["group"].isin(set(index.loc[scored, "group"])).to_numpy()
    added = np.flatnonzero(free & index["image_id"].isin(set(label_of)).to_numpy())
    targets = setup.targets.copy()
    targets[added] = [label_of[image_id] for image_id in index["image_id"].iloc[added]]
    return replace(setup, targets=targets), np.concatenate([rows, added])


def say_pseudo_labels(train: Train, competition: Competition, fold: Fold, added: np.ndarray) -> None:
    """`added`: int64 classes of the test images that this fold is trained on too."""
    counts = np.bincount(added, minlength=len(competition.classes))
    each = examples((f"{name} {count:,}" for name, count in zip(competition.classes, counts, strict=True)), 6)
    console.stage("train", f"fold {fold}: {len(added):,} test images of which {train.pseudo_run} is sure: {each}")
    if not len(added):
        console.warn(
            f"train.pseudo_run: {train.pseudo_run} is sure of none ({train.pseudo_threshold:g}): nothing added"
        )


def fold_model(setup: Setup, fold: Fold, rows: np.ndarray) -> Classifier:
    """The fold's model with its initial weights, by (seed, fold), normalised by its own training images.

    With `model.start`, that run's model of this fold: it never saw this fold's images either.
    """
    torch.manual_seed(key("weights", setup.experiment.seed, fold))
    model = initial_model(setup.experiment, setup.competition, channel_statistics(setup.index.iloc[rows]))
    start = setup.experiment.model.start
    if start is not None:
        file = start_file(setup.workspace, setup.experiment, fold)
        try:
            model.load_state_dict(load_model(file)[0])
        except RuntimeError as error:
            raise KitError(
                f"{file}: is of another model than model.name: {str(error).splitlines()[1].strip()}"
            ) from None
    if setup.competition.task == "number":
        model.set_number_scale(*number_scale(setup.targets[rows]))
    return model


def initial_model(
    experiment: Experiment, competition: Competition, fallback: tuple[Any, Any] = ((0.5,) * 3, (0.25,) * 3)
) -> Classifier:
    """The experiment's model; `fallback`: RGB mean and std where neither the config nor the weights name them."""
    model, data = experiment.model, experiment.data
    shape, normalisation = (model.name, competition.num_outputs, model.options), (data.mean, data.std, fallback)
    return build_classifier(*shape, model.weights, *normalisation, data.image_size, competition.task)


def objective(setup: Setup, model: Classifier, rows: np.ndarray) -> Objective:
    """What this fold's training minimises, and what is shown of its validation."""
    competition, seen = setup.competition, setup.targets[rows]
    loss = build_loss(competition.task, setup.experiment.train, seen, competition.num_outputs)
    return Objective(loss, validation_loss(competition.task, seen), model.activate)


def measured_workers(setup: Setup, fold: Fold, images_per_second: float) -> int:
    """How many processes keep up with a network of that speed; measured on a few of the fold's own batches."""
    train = setup.experiment.train
    if train.num_workers != "auto":
        return train.num_workers
    batches = feed(setup, fold, training_rows(setup, fold)).batches(0, 0)
    next(batches)
    began, seen = time.perf_counter(), 0
    for pixels, _, _ in batches:
        seen += len(pixels)
        if time.perf_counter() - began > 0.5:
            break
    prepared = seen / max(time.perf_counter() - began, 1e-9) if seen else float("inf")
    return workers_needed(images_per_second, prepared, num_cores(), setup.device.type == "cuda")


def start_file(workspace: Workspace, experiment: Experiment, fold: Fold) -> Path:
    """The weights that `model.start` names. Raises `KitError` where there are none, or of other folds."""
    assert experiment.model.start is not None
    file = workspace.fold(experiment.model.start, fold) / "model.safetensors"
    if not file.is_file():
        raise KitError(f"{file}: no such file; train run {experiment.model.start} first (model.start)")
    require_same_folds(workspace, experiment.name, experiment.model.start)
    return file


def require_same_folds(workspace: Workspace, run: str, other: str) -> None:
    """Raise `KitError` where two runs were made with other folds: one's models saw what scores the other."""
    one, two = (workspace.run(name) / "folds.csv" for name in (run, other))
    if one.is_file() and one.read_text("utf-8") != two.read_text("utf-8"):  # what is no run yet is only tried
        raise KitError(f"{two}: other folds than {one}; its models saw images that score this run's folds")


def feed(setup: Setup, fold: Fold, rows: np.ndarray) -> Feed:
    """The fold's batches: training (augmented, counted randomness), its validation images, a benchmark's test set."""
    experiment, index = setup.experiment, setup.index
    train, size = experiment.train, experiment.data.image_size
    on_gpu = setup.device.type == "cuda"
    make = partial(Batches, setup.pixels, setup.targets, batch_size=train.batch_size, image_size=size)

    def batches(epoch: int, start: int) -> Any:
        order = epoch_order(rows, train.batch_size, experiment.seed, fold, epoch)
        side = experiment.side(epoch)
        shown = replace(make(order=order), image_size=side, augment=build_augment(experiment.augment, side))
        shown = replace(shown, image_key=(experiment.seed, fold, epoch))
        return shown.stream(start, setup.num_workers, on_gpu)

    validation_rows = np.flatnonzero(setup.folds == fold) if fold != "full" else np.empty(0, np.int64)
    test_rows = np.flatnonzero(labelled_test(index)) if fold == "full" else np.empty(0, np.int64)
    order = epoch_order(rows, train.batch_size, experiment.seed, fold, 0)
    return Feed(
        num_steps=-(-len(order) // train.batch_size),
        num_images=len(order),
        batches=batches,
        validation=(lambda: make(order=validation_rows).stream(0)) if len(validation_rows) else None,
        metric=setup.competition.metric,
        score=partial(score, setup.competition.metric),
        image_ids=lambda numbers: index["image_id"].iloc[numbers].tolist(),
        test=(lambda: make(order=test_rows).stream(0)) if len(test_rows) else None,
    )
