"""predict: each fold's model on the images it never saw -> `fold_<k>/oof.csv`, and on the test images -> `test.csv`.

The same TTA views serve both, so that the CV measures what is submitted.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from kit import console
from kit.assembly.opening import open_data
from kit.assembly.predicting import Members, settle, trained_model
from kit.assembly.showing import draw_oof
from kit.competition import Competition
from kit.config import Experiment
from kit.data.images import ImageProblem, decode, resize_square
from kit.data.table import labelled_test, predictions, read_rows, readable, targets, trainable
from kit.errors import ConfigError, KitError, counted
from kit.inference.views import expand
from kit.machine import num_cores
from kit.run_folder import freeze, frozen
from kit.schema import to_mapping
from kit.scoring.blend import mean_predictions
from kit.scoring.metrics import score
from kit.workspace import Fold, Workspace, atomic_path, file_hash, fingerprint, is_done, mark_done

VERSION = 4
NOTHING = np.empty(0, np.int64)
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
    """Predict for the folds (default: all that are trained): each its own images, and all of them the test images."""
    experiment = _frozen(experiment, workspace)
    wanted = _trained(experiment, workspace, folds)
    data = open_data(experiment, workspace, workspace.run(experiment.name) / "folds.csv")
    competition, index, pixels = data.competition, data.index, data.pixels
    torch.set_num_threads(experiment.train.num_threads or num_cores())
    own = {fold: np.flatnonzero(data.folds == fold) if fold != "full" else NOTHING for fold in wanted}
    stale = [fold for fold in wanted if force or not _stamp(experiment, workspace, competition, index, fold, own).done]
    if stale:
        test_rows = np.flatnonzero((index["split"] == "test").to_numpy() & readable(index))
        views = len(expand(experiment.tta.views))
        num_images = views * sum(len(own[fold]) + len(test_rows) for fold in stale)
        first = trained_model(experiment, workspace, competition, stale[0])
        experiment = settle(experiment, workspace, first, pixels, num_images)
        members = Members(experiment, workspace, competition, stale, pixels, index["md5"].tolist())
        freeze(experiment, workspace)  # with the views as they are now
        on_test = members.predict(stale, pixels, test_rows)
        for fold, said in zip(stale, on_test, strict=True):
            everything = np.tile(_prior(index, competition), (len(index), 1))  # what an unreadable test image gets
            everything[test_rows] = said
            if fold != "full":
                everything[own[fold]] = members.predict([fold], pixels, own[fold])[0]
            _write_fold(experiment, workspace, competition, index, fold, own, everything)
    scores: dict[str, float] = {}
    for fold in wanted:
        if fold not in stale:
            console.stage("predict", f"fold {fold} is up to date")
        value = _report(experiment, workspace, competition, index, fold)
        if value is not None:
            scores[str(fold)] = value
    if scores:
        draw_oof(experiment, workspace, competition, index, pixels)
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
    torch.set_num_threads(experiment.train.num_threads or num_cores())
    size = experiment.data.cache_size or experiment.data.image_size
    files = sorted(f for f in folder.rglob("*") if f.is_file() and not f.name.startswith("."))
    tables, members = [], None
    for start in range(0, len(files), CHUNK):
        names, squares = [], []
        for file in files[start : start + CHUNK]:
            try:
                squares.append(resize_square(decode(file.read_bytes(), size).rgb, size, experiment.data.resize))
                names.append(str(file.relative_to(folder)))
            except (OSError, ImageProblem) as problem:
                console.warn(f"{file}: {problem}; left out")
        if names:
            pixels = np.stack(squares)
            if members is None:
                first = trained_model(experiment, workspace, competition, folds[0])
                num_images = len(files) * len(folds) * len(expand(experiment.tta.views))
                experiment = settle(experiment, workspace, first, pixels, num_images)
                members = Members(experiment, workspace, competition, folds, pixels)
            said = members.predict(folds, pixels, np.arange(len(names)))
            mean = mean_predictions(list(said), experiment.ensemble.average, competition.task)
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


@dataclass(frozen=True)
class _Stamp:
    """What a fold's predictions are made of. `done`: they are there, and of that."""

    path: Path
    inputs: str
    facts: dict[str, Any]
    done: bool


def _stamp(
    experiment: Experiment,
    workspace: Workspace,
    competition: Competition,
    index: pd.DataFrame,
    fold: Fold,
    own: dict[Fold, np.ndarray],
) -> _Stamp:
    folder = workspace.fold(experiment.name, fold)
    looked_at = np.concatenate([own[fold], np.flatnonzero(index["split"] == "test")])
    images = index.iloc[looked_at][["image_id", "md5", *competition.targets]].to_numpy().tolist()
    facts = {"model": file_hash(folder / "model.safetensors"), "tta": to_mapping(experiment)["tta"]}
    inputs = fingerprint(VERSION, facts, images, list(competition.classes))
    outputs = [folder / "test.csv"] + ([folder / "oof.csv"] if fold != "full" else [])
    path = folder / ".predict.json"
    return _Stamp(path, inputs, facts, is_done(path, inputs, outputs))


def _write_fold(
    experiment: Experiment,
    workspace: Workspace,
    competition: Competition,
    index: pd.DataFrame,
    fold: Fold,
    own: dict[Fold, np.ndarray],
    everything: np.ndarray,
) -> None:
    """The fold's oof.csv and test.csv, from predictions (N, C) by row of the index."""
    folder, test = workspace.fold(experiment.name, fold), (index["split"] == "test").to_numpy()
    (folder / ".predict.json").unlink(missing_ok=True)  # killed between its files, they are none's
    if fold != "full":
        columns = index.iloc[own[fold]][["image_id", *competition.targets]].reset_index(drop=True)
        columns.insert(1, "fold", fold)
        _write(columns.join(_columns(competition, everything[own[fold]])), folder / "oof.csv")
    columns = index.loc[test, ["image_id"]].reset_index(drop=True)
    _write(columns.join(_columns(competition, everything[test])), folder / "test.csv")
    stamp = _stamp(experiment, workspace, competition, index, fold, own)
    mark_done(stamp.path, stamp.inputs, **stamp.facts)


def _report(
    experiment: Experiment, workspace: Workspace, competition: Competition, index: pd.DataFrame, fold: Fold
) -> float | None:
    """Says what the fold's files hold; returns the OOF score."""
    folder = workspace.fold(experiment.name, fold)
    views = f"with {counted(len(expand(experiment.tta.views)), 'view')}"
    on_test = f"{(index['split'] == 'test').sum():,} test images"
    if labelled_test(index).any():
        truth = index.loc[labelled_test(index), ["image_id", *competition.targets]]
        value = _table_score(competition, read_rows(folder / "test.csv").merge(truth))
        on_test += f" ({competition.metric} {value:.4f})"
    if fold == "full":
        console.stage("predict", f"fold full: {on_test} {views}; no CV, it has seen every training image")
        return None
    value = _table_score(competition, read_rows(folder / "oof.csv"))
    console.stage("predict", f"fold {fold}  OOF {competition.metric} {value:.4f} {views}, {on_test}")
    return value


def _prior(index: pd.DataFrame, competition: Competition) -> np.ndarray:
    """float32 (C,): the training targets' mean: what one says who has not seen the picture."""
    seen = targets(index[trainable(index)], competition)
    if seen.ndim == 1:
        seen = np.eye(competition.num_outputs)[seen]
    return seen.mean(axis=0).astype(np.float32)


def _columns(competition: Competition, probs: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(probs, columns=competition.predictions)


def _write(table: pd.DataFrame, path: Path) -> None:
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.8g")


def _table_score(competition: Competition, table: pd.DataFrame) -> float:
    """The metric of predictions that stand beside their targets."""
    return score(competition.metric, targets(table, competition), predictions(table, competition))
