"""predict: each fold's model on the images it never saw -> `fold_<k>/oof.csv`, and on the test images -> `test.csv`.

The same TTA views serve both, so that the CV measures what is submitted.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from kit import console, figures
from kit.competition import Competition
from kit.config import Experiment
from kit.data.cache import experiment_pixels
from kit.data.folds import read_folds
from kit.data.images import ImageProblem, decode, resize_square
from kit.data.loader import Batches
from kit.data.table import labelled_test, predictions, read_index, read_rows, readable, targets, trainable
from kit.errors import ConfigError, KitError, counted
from kit.inference.predictor import predict
from kit.inference.views import expand
from kit.models import build_classifier
from kit.run_folder import freeze, frozen
from kit.schema import to_mapping
from kit.scoring.blend import mean_predictions
from kit.scoring.metrics import per_image, score
from kit.training.checkpoint import load_model
from kit.training.precision import Precision, default_device
from kit.workspace import Fold, Workspace, atomic_path, file_hash, fingerprint, is_done, mark_done

VERSION = 3
WORST = 40  # errors shown
CHUNK = 2048  # pictures of --images held in memory


@dataclass(frozen=True)
class PredictResult:
    folds: list[Fold]
    metric: str
    scores: dict[str, float]  # fold -> OOF score with TTA
    num_test: int


@dataclass(frozen=True)
class ImagesResult:
    path: Path
    num_images: int
    folds: list[Fold]


def run(
    experiment: Experiment, workspace: Workspace, folds: list[Fold] | None = None, force: bool = False
) -> PredictResult:
    """Predict for the folds (default: all that are trained)."""
    competition = Competition.load(experiment.competition)
    experiment = _frozen(experiment, workspace)
    freeze(experiment, workspace)  # with the views as they are now
    index = read_index(workspace.index(competition.name))
    folds_path = workspace.run(experiment.name) / "folds.csv"
    fold_of_row = read_folds(folds_path, index, experiment.data.num_folds)
    wanted = _trained(experiment, workspace, folds)
    pixels = experiment_pixels(workspace, competition, experiment, index)
    torch.set_num_threads(experiment.train.num_threads or 1)
    scores: dict[str, float] = {}
    for fold in wanted:
        oof_rows = np.flatnonzero(fold_of_row == fold) if fold != "full" else np.empty(0, np.int64)
        value = _predict_fold(experiment, workspace, competition, index, pixels, fold, oof_rows, force)
        if value is not None:
            scores[str(fold)] = value
    if scores:
        _figures(experiment, workspace, competition, index, pixels)
    return PredictResult(wanted, competition.metric, scores, int((index["split"] == "test").sum()))


def run_images(
    experiment: Experiment, workspace: Workspace, folder: Path, out: Path | None = None, folds: list[Fold] | None = None
) -> ImagesResult:
    """Predict every picture of a folder -> a CSV: file, prob_<class> per class.

    The models and their mean are those of the submission: the trained folds, or `full` where `ensemble.members` says
    so; `folds` chooses others.
    """
    if not folder.is_dir():
        raise ConfigError(f"--images {folder}: no such folder")
    competition = Competition.load(experiment.competition)
    experiment = _frozen(experiment, workspace)
    if folds is None:
        trained = _trained(experiment, workspace, None)
        folds = [fold for fold in trained if (fold == "full") == (experiment.ensemble.members == "full")] or trained
    folds = _trained(experiment, workspace, folds)
    torch.set_num_threads(experiment.train.num_threads or 1)
    size = experiment.data.cache_size or experiment.data.image_size
    files = sorted(f for f in folder.rglob("*") if f.is_file() and not f.name.startswith("."))
    tables = []
    for start in range(0, len(files), CHUNK):
        names, squares = [], []
        for file in files[start : start + CHUNK]:
            try:
                squares.append(resize_square(decode(file.read_bytes(), size).rgb, size, experiment.data.resize))
                names.append(str(file.relative_to(folder)))
            except (OSError, ImageProblem) as problem:
                console.warn(f"{file}: {problem}; left out")
        if names:
            pixels, rows = np.stack(squares), np.arange(len(names))
            members = [_predict(experiment, workspace, competition, pixels, fold, rows) for fold in folds]
            mean = mean_predictions(members, experiment.ensemble.average, competition.task)
            tables.append(pd.DataFrame({"file": names}).join(_columns(competition, mean)))
    if not tables:
        raise KitError(f"{folder}: holds no picture")
    table = pd.concat(tables, ignore_index=True)
    path = out or workspace.run(experiment.name) / f"images-{folder.resolve().name}.csv"
    _write(table, path)
    console.stage("predict", f"{len(table):,} pictures, mean of {len(folds)} models -> {path}")
    return ImagesResult(path, len(table), folds)


def _frozen(experiment: Experiment, workspace: Workspace) -> Experiment:
    existing = frozen(experiment, workspace)
    if existing is None:
        raise KitError(f"{workspace.run(experiment.name)}: no such run; type `kit train` first")
    return existing


def _trained(experiment: Experiment, workspace: Workspace, folds: list[Fold] | None) -> list[Fold]:
    everything: list[Fold] = [*range(experiment.data.num_folds), "full"]
    there = [fold for fold in everything if (workspace.fold(experiment.name, fold) / ".train.json").is_file()]
    missing = [fold for fold in folds or [] if fold not in there]
    if missing:
        raise KitError(f"fold {missing[0]} of {experiment.name} is not trained; type `kit train --fold {missing[0]}`")
    if not there:
        raise KitError(f"no fold of {experiment.name} is trained; type `kit train`")
    return folds or there


def _predict_fold(
    experiment: Experiment,
    workspace: Workspace,
    competition: Competition,
    index: pd.DataFrame,
    pixels: np.ndarray,
    fold: Fold,
    oof_rows: np.ndarray,
    force: bool,
) -> float | None:
    folder = workspace.fold(experiment.name, fold)
    oof_path, test_path, stamp = folder / "oof.csv", folder / "test.csv", folder / ".predict.json"
    test = (index["split"] == "test").to_numpy()
    looked_at = np.concatenate([oof_rows, np.flatnonzero(test)])
    images = index.iloc[looked_at][["image_id", "md5", *competition.targets]].to_numpy().tolist()
    facts = {"model": file_hash(folder / "model.safetensors"), "tta": to_mapping(experiment)["tta"]}
    inputs = fingerprint(VERSION, facts, images, list(competition.classes))
    outputs = [test_path] if fold == "full" else [oof_path, test_path]
    if is_done(stamp, inputs, outputs) and not force:
        console.stage("predict", f"fold {fold} is up to date")
    else:
        test_rows = np.flatnonzero(test & readable(index))
        rows = np.concatenate([oof_rows, test_rows])
        everything = np.tile(_prior(index, competition), (len(index), 1))  # what an unreadable test image gets
        everything[rows] = _predict(experiment, workspace, competition, pixels, fold, rows)
        if fold != "full":
            columns = index.iloc[oof_rows][["image_id", *competition.targets]].reset_index(drop=True)
            columns.insert(1, "fold", fold)
            _write(columns.join(_columns(competition, everything[oof_rows])), oof_path)
        columns = index.loc[test, ["image_id"]].reset_index(drop=True)
        _write(columns.join(_columns(competition, everything[test])), test_path)
        mark_done(stamp, inputs, **facts)
    views = f"with {counted(len(expand(experiment.tta.views)), 'view')}"
    on_test = f"{test.sum():,} test images"
    if labelled_test(index).any():
        truth = index.loc[labelled_test(index), ["image_id", *competition.targets]]
        value = _table_score(competition, read_rows(test_path).merge(truth))
        on_test += f" ({competition.metric} {value:.4f})"
    if fold == "full":
        console.stage("predict", f"fold full: {on_test} {views}; no CV, it has seen every training image")
        return None
    value = _table_score(competition, read_rows(oof_path))
    console.stage("predict", f"fold {fold}  OOF {competition.metric} {value:.4f} {views}, {on_test}")
    return value


def _prior(index: pd.DataFrame, competition: Competition) -> np.ndarray:
    """float32 (C,): the training targets' mean: what one says who has not seen the picture."""
    seen = targets(index[trainable(index)], competition)
    if seen.ndim == 1:
        seen = np.eye(competition.num_outputs)[seen]
    return seen.mean(axis=0).astype(np.float32)


def _predict(
    experiment: Experiment,
    workspace: Workspace,
    competition: Competition,
    pixels: np.ndarray,
    fold: Fold,
    rows: np.ndarray,
) -> np.ndarray:
    """float32 (len(rows), C): the fold's model on these rows of `pixels`, mean over the views."""
    device, train = default_device(), experiment.train
    weights, _ = load_model(workspace.fold(experiment.name, fold) / "model.safetensors")
    size, options = experiment.data.image_size, experiment.model.options
    shape = (experiment.model.name, competition.num_outputs, options)
    model = build_classifier(*shape, image_size=size, task=competition.task)
    model.load_state_dict(weights)
    precision = Precision(train.precision, train.memory_format)
    order = Batches(pixels, np.zeros(len(pixels), np.int64), rows, max(64, train.batch_size), pixels.shape[1])
    stream: Any = order.stream(0, train.num_workers, device.type == "cuda")
    batches = (batch[0] for batch in console.track(stream, f"predict fold {fold}", len(order)))
    return predict(
        model,
        model.activate,
        batches,
        expand(experiment.tta.views),
        experiment.data.image_size,
        experiment.tta.average,
        device,
        precision.layout,
        partial(precision.autocast, device),
    ).numpy()


def _columns(competition: Competition, probs: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(probs, columns=competition.predictions)


def _write(table: pd.DataFrame, path: Path) -> None:
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.8g")


def _table_score(competition: Competition, table: pd.DataFrame) -> float:
    """The metric of predictions that stand beside their targets."""
    return score(competition.metric, targets(table, competition), predictions(table, competition))


def _figures(
    experiment: Experiment, workspace: Workspace, competition: Competition, index: pd.DataFrame, pixels: np.ndarray
) -> None:
    """What is right and what is wrong, and the worst errors, over every fold that is predicted so far."""
    files = [workspace.fold(experiment.name, fold) / "oof.csv" for fold in range(experiment.data.num_folds)]
    tables = [read_rows(file) for file in files if file.is_file()]
    oof = pd.concat(tables, ignore_index=True)
    wanted, said = targets(oof, competition), predictions(oof, competition)
    folder = workspace.run(experiment.name) / "figures"
    title = f"{experiment.name}: OOF of {counted(len(tables), 'fold')}, {len(oof):,} images"
    if competition.task == "number":
        figures.scatter(wanted[:, 0], said[:, 0], competition.labels.column, title, folder / "predicted.png")
        loss, wrong = np.abs(wanted - said)[:, 0], np.ones(len(oof), bool)
        captions = [f"{value:.4g}, true {true:.4g}" for value, true in zip(said[:, 0], wanted[:, 0], strict=True)]
    elif competition.task == "labels":
        names = np.array(competition.classes)
        aucs = [score("roc_auc", wanted[:, [c]], said[:, [c]]) for c in range(len(names))]
        figures.label_scores(dict(zip(names, aucs, strict=True)), title, folder / "labels.png")
        loss, wrong = per_image("log_loss", wanted, said), ((said > 0.5) != (wanted > 0.5)).any(axis=1)
        off = np.abs(said - wanted).argmax(axis=1)
        captions = [f"{names[c]}\n{said[k, c]:.3f}, true {wanted[k, c]:.0f}" for k, c in enumerate(off)]
    else:
        guesses = said.argmax(axis=1)
        figures.confusion_matrix(wanted, guesses, competition.classes, title, folder / "confusion.png")
        loss, wrong = 1 - said[np.arange(len(oof)), wanted], guesses != wanted
        captions = [f"{competition.classes[guess]} {said[k].max():.3f}" for k, guess in enumerate(guesses)]
    worst = [k for k in np.argsort(-np.asarray(loss), kind="stable")[:WORST] if wrong[k]]
    if worst:
        train = index.index[index["split"] == "train"]
        row_of = dict(zip(index.loc[train, "image_id"], train, strict=True))
        pictures = [np.asarray(pixels[row_of[oof["image_id"].iloc[k]]]) for k in worst]
        texts = [f"{oof['image_id'].iloc[k]}\n{captions[k]}" for k in worst]
        title = f"{experiment.name}: the {len(worst)} worst errors (id; what the model said)"
        figures.contact_sheet(pictures, texts, title, folder / "worst_errors.png")
    console.stage("predict", f"figures: {folder}")
