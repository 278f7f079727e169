"""A run's figures: learning curves, reliability, and out-of-fold predictions beside their pictures."""

from pathlib import Path

import numpy as np
import pandas as pd

from kit import console, figures
from kit.data.reading import as_rgb
from kit.data.table import predictions, targets
from kit.errors import counted
from kit.metrics import LOG_LOSS, ROC_AUC
from kit.metrics.questions import answers_of
from kit.run.hand_in import Scored
from kit.run.run import Run
from kit.workspace import Fold

WORST = 40  # errors shown
BINS = 10


def draw_reliability(name: str, scored: Scored, path: Path) -> None:
    """Predicted against observed, before and after calibration; nothing for numbers."""
    metric, wanted = scored.truth.metric, scored.truth.targets
    if "number" in metric.tasks:
        return
    truth = wanted if wanted.ndim == 2 else np.eye(scored.probs.shape[1])[wanted]
    shown = {"OOF": scored.probs}
    if scored.post.kept and metric.calibrates:
        shown["calibrated, cross-fitted"] = scored.post.decisions
    curves = {}
    for label, some in shown.items():
        one, seen = (some[:, 1:], truth[:, 1:]) if some.shape[1] == 2 and wanted.ndim == 1 else (some, truth)
        curves[label] = _binned(one.ravel(), seen.ravel())
    figures.reliability(curves, f"{name}: {len(scored.oof):,} OOF images", path)


def _binned(probs: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(mean prediction, observed share, count) of each tenth of [0, 1] that is not empty."""
    place = np.minimum((probs * BINS).astype(int), BINS - 1)
    count = np.bincount(place, minlength=BINS)
    filled = count > 0
    means = [np.bincount(place, values, BINS)[filled] / count[filled] for values in (probs, seen)]
    return means[0], means[1], count[filled]


def draw_oof(run: Run) -> None:
    """What is right and what is wrong, and the worst errors, over all folds predicted so far."""
    competition, samples = run.competition, run.samples
    tables = [fold.oof() for fold in run.folds() if fold.files.oof.is_file()]
    oof = pd.concat(tables, ignore_index=True)
    wanted, probs = targets(oof, competition), predictions(oof, competition)
    title = f"{run.name}: OOF of {counted(len(tables), 'fold')}, {len(oof):,} images"
    if competition.task == "number":
        columns = {name: (wanted[:, c], probs[:, c]) for c, name in enumerate(competition.numbers)}
        figures.scatter(columns, title, run.files.figure("predicted"))
        errors = np.abs(wanted - probs) / np.maximum(wanted.std(axis=0), 1e-12)
        loss, wrong = errors.max(axis=1), np.ones(len(oof), bool)
        called = [f"{name}\n" for name in columns] if len(columns) > 1 else [""]
        captions = [
            f"{called[c]}{probs[k, c]:.4g}, true {wanted[k, c]:.4g}" for k, c in enumerate(errors.argmax(axis=1))
        ]
    elif competition.task == "labels":
        names = np.array(competition.classes)
        aucs = [ROC_AUC.score(wanted[:, [c]], probs[:, [c]]) for c in range(len(names))]
        figures.label_scores(dict(zip(names, aucs, strict=True)), title, run.files.figure("labels"))
        assert LOG_LOSS.per_image is not None
        loss, wrong = LOG_LOSS.per_image(wanted, probs), ((probs > 0.5) != (wanted > 0.5)).any(axis=1)
        if parts := competition.labels.parts:
            wrong = (answers_of(probs, parts) != answers_of(wanted, parts)).any(axis=1)
        off = np.abs(probs - wanted).argmax(axis=1)
        captions = [f"{names[c]}\n{probs[k, c]:.3f}, true {wanted[k, c]:.0f}" for k, c in enumerate(off)]
    else:
        guesses = probs.argmax(axis=1)
        figures.confusion_matrix(wanted, guesses, competition.classes, title, run.files.figure("confusion"))
        loss, wrong = 1 - probs[np.arange(len(oof)), wanted], guesses != wanted
        captions = [f"{competition.classes[guess]} {probs[k].max():.3f}" for k, guess in enumerate(guesses)]
    worst = [k for k in np.argsort(-np.asarray(loss), kind="stable")[:WORST] if wrong[k]]
    if worst:
        row_of = samples.row_of()
        pictures = [as_rgb(np.asarray(samples.pixels[row_of[oof["image_id"].iloc[k]]])) for k in worst]
        texts = [f"{oof['image_id'].iloc[k]}\n{captions[k]}" for k in worst]
        title = f"{run.name}: the {len(worst)} worst errors (id; what the model predicted)"
        figures.contact_sheet(pictures, texts, title, run.files.figure("worst_errors"))
    console.stage("predict", f"figures: {run.files.figures}")


def draw_curves(run: Run) -> None:
    folds: list[Fold] = [*range(run.experiment.data.num_folds), "full"]
    histories = {str(fold): history for fold in folds if (history := run.fold(fold).history)}
    if histories:
        figures.learning_curves(histories, run.competition.metric, run.name, run.files.figure("curves"))
