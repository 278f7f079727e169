"""For the eye: learning curves, and out-of-fold predictions beside the pictures they are of."""

from pathlib import Path

import numpy as np
import pandas as pd

from kit import console, figures
from kit.competition import Competition
from kit.config import Experiment
from kit.data.table import predictions, read_rows, targets
from kit.errors import counted
from kit.scoring.metrics import per_image, score
from kit.scoring.postprocess import Postprocess
from kit.training.history import read_history
from kit.workspace import Fold, Workspace

WORST = 40  # errors shown
BINS = 10


def draw_reliability(name: str, oof: pd.DataFrame, competition: Competition, post: Postprocess, path: Path) -> None:
    """Predicted against observed, before and after what was fitted for log loss; nothing for numbers and ranks."""
    if competition.task == "number":
        return
    wanted, said = targets(oof, competition), predictions(oof, competition)
    truth = wanted if wanted.ndim == 2 else np.eye(said.shape[1])[wanted]
    shown = {"OOF": said}
    if post.kept and competition.metric == "log_loss":
        shown["calibrated, cross-fitted"] = post.decisions
    curves = {}
    for label, probs in shown.items():
        one, seen = (probs[:, 1:], truth[:, 1:]) if probs.shape[1] == 2 and wanted.ndim == 1 else (probs, truth)
        curves[label] = _binned(one.ravel(), seen.ravel())
    figures.reliability(curves, f"{name}: {len(oof):,} OOF images", path)


def _binned(said: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(mean prediction, share that is so, how many) of each tenth of [0, 1] that holds any."""
    place = np.minimum((said * BINS).astype(int), BINS - 1)
    count = np.bincount(place, minlength=BINS)
    filled = count > 0
    means = [np.bincount(place, values, BINS)[filled] / count[filled] for values in (said, seen)]
    return means[0], means[1], count[filled]


def draw_oof(
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


def draw_curves(experiment: Experiment, workspace: Workspace, metric: str) -> None:
    """Every fold that has begun, into the run's figures/curves.png."""
    folds: list[Fold] = [*range(experiment.data.num_folds), "full"]
    histories = {
        str(fold): history for fold in folds if (history := read_history(workspace.fold(experiment.name, fold)))
    }
    if histories:
        path = workspace.run(experiment.name) / "figures" / "curves.png"
        figures.learning_curves(histories, metric, experiment.name, path)
