"""predict --images: every picture in a folder -> a CSV: file, prob_<class> per class."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from kit import console
from kit.data.reading import Reading
from kit.data.squares import CHUNK, read_squares
from kit.errors import ConfigError, KitError
from kit.run.predicting import FoldPredictors, prediction_columns, settle_prediction, view_set
from kit.run.run import Run
from kit.run.settling import use_threads
from kit.scoring.blend import mean_predictions
from kit.stages.predict import trained_folds
from kit.workspace import Fold, atomic_path


@dataclass(frozen=True)
class ImagesResult:
    path: Path
    num_images: int
    folds: list[Fold]


def predict_images(
    run: Run, folder: Path, out: Path | None = None, folds: Sequence[Fold] | None = None
) -> ImagesResult:
    """Predict with the submission's models and their mean: the trained folds, or `full` where `ensemble.models` asks
    for it; `folds` chooses others."""
    if not folder.is_dir():
        raise ConfigError(f"--images {folder}: no such folder")
    if run.competition.pictures is not None:
        raise ConfigError("--images: takes single pictures; this competition's samples have several")
    trained, full = trained_folds(run, folds), run.experiment.ensemble.models == "full"
    chosen = trained if folds is not None else [fold for fold in trained if (fold.number == "full") is full] or trained
    use_threads(run)
    numbers, data = [fold.number for fold in chosen], run.experiment.data
    size = data.kept_size
    files = sorted(f for f in folder.rglob("*") if f.is_file() and not f.name.startswith("."))
    tables, predictors, reading = [], None, Reading.of(run.competition, run.index)
    for start in range(0, len(files), CHUNK):
        part = files[start : start + CHUNK]
        pixels, problems = read_squares(part, size, data.resize, reading)
        for place, problem in sorted(problems.items()):
            console.warn(f"{part[place]}: {problem}; left out")
        names = [str(file.relative_to(folder)) for place, file in enumerate(part) if place not in problems]
        pixels = np.delete(pixels, list(problems), axis=0)
        if names:
            if predictors is None:
                settle_prediction(run, chosen[0].model(), pixels, len(files) * len(chosen) * len(view_set(run)))
                predictors = FoldPredictors(run, chosen, pixels)
            several = predictors.predict(numbers, np.arange(len(pixels)), pixels)
            average = "logits" if run.experiment.ensemble.average == "logits" else "probs"  # nothing is calibrated here
            mean = mean_predictions(list(several), average, run.competition.task)
            tables.append(pd.DataFrame({"file": names}).join(prediction_columns(run.competition, mean)))
    if not tables:
        raise KitError(f"{folder}: contains no pictures")
    table = pd.concat(tables, ignore_index=True)
    path = out or run.files.images(folder.resolve().name)
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.8g")
    console.stage("predict", f"{len(table):,} pictures, mean of {len(chosen)} models -> {path}")
    return ImagesResult(path, len(table), numbers)
