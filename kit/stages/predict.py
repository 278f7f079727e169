"""predict: each fold's model on the images it never saw -> `fold_<k>/oof.csv`, and on the test images -> `test.csv`.

The same TTA views serve both, so that the CV measures what is submitted."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from kit import console
from kit.artifacts import to_make
from kit.competition import Competition
from kit.data.table import predictions, targets
from kit.errors import ConfigError, KitError, counted, nearest
from kit.run.drawing import draw_oof
from kit.run.files import run_names
from kit.run.predicting import (
    FoldPredictors,
    check_views,
    predictions_of,
    settle_prediction,
    view_set,
    write_predictions,
)
from kit.run.run import Run, RunFold
from kit.run.settling import use_threads
from kit.runners import Job, choose_runner, is_cluster
from kit.workspace import Fold


@dataclass(frozen=True)
class PredictResult:
    folds: list[Fold]
    metric: str
    scores: dict[str, float]  # fold -> OOF score with TTA
    num_test: int


def predict(run: Run, folds: Sequence[Fold] | None = None, force: bool = False, on: str | None = None) -> PredictResult:
    """Predict with the folds (default: all that are trained): each its own images, and all of them the test images.
    `on`: `here`, or a `ray` cluster that shares the disk."""
    wanted, samples = trained_folds(run, folds), run.samples
    if on not in {None, "here"} and not is_cluster(on):
        raise ConfigError(f"kit predict --on {on}: expected here, or ray")
    if is_cluster(on):
        _predict_there(run, wanted, force, on)
        run.settle(None)
        force = False
    use_threads(run)
    missing = {artifact.name for artifact in to_make("predict", [predictions_of(fold) for fold in wanted], force)}
    stale = [fold for fold in wanted if fold.title in missing]
    if stale:
        rows = {fold.number: samples.scored_rows(fold.number) for fold in stale}
        num_images = sum(len(own) + len(samples.test_rows) for own in rows.values())
        check_views(run, stale[0].model())
        settle_prediction(run, stale[0].model(), samples.pixels, len(view_set(run)) * num_images)
        predictors = FoldPredictors(run, stale)
        run.freeze()  # with the views as they are now
        on_test = predictors.predict([fold.number for fold in stale], samples.test_rows)
        for fold, test in zip(stale, on_test, strict=True):
            everything = np.tile(_prior(run), (len(samples.index), 1))  # what an unreadable test image gets
            everything[samples.test_rows] = test
            own = rows[fold.number]
            everything[own] = predictors.predict([fold.number], own)[0]
            write_predictions(fold, everything)
    found = {str(fold.number): _report(fold) for fold in wanted}
    scores = {fold: score for fold, score in found.items() if score is not None}
    if scores:
        draw_oof(run)
    numbers, num_test = [fold.number for fold in wanted], int((samples.index["split"] == "test").sum())
    return PredictResult(numbers, run.competition.scoring.name, scores, num_test)


def _predict_there(run: Run, folds: Sequence[RunFold], force: bool, on: str | None) -> None:
    """In one job, which decodes the test images once for all folds."""
    left = to_make("predict", [predictions_of(fold) for fold in folds], force)
    if left:
        run.freeze()  # with the views as they are now
        config, root = run.files.experiment.resolve(), run.workspace.root.resolve()
        words = ["predict", "--config", str(config), "--workspace", str(root)]
        words += ["--fold", ",".join(str(fold.number) for fold in folds), *(["--force"] if force else [])]
        choose_runner(on).run([Job(f"{run.name} predicts", lambda: None, lambda: words)])


def trained_folds(run: Run, folds: Sequence[Fold] | None) -> list[RunFold]:
    """These folds, or all that are trained; raises `KitError` where one is not."""
    if not run.exists:
        others = nearest(run.name, run_names(run.workspace.runs))
        raise KitError(f"{run.files.folder}: no such run{others}; type `kit run` first")
    everything = run.folds([*range(run.experiment.data.num_folds), "full"])
    there = [fold for fold in everything if fold.is_trained]
    missing = [number for number in folds or [] if not run.fold(number).is_trained]
    if missing:
        raise KitError(f"fold {missing[0]} of {run.name} is not trained; type `kit train --fold {missing[0]}`")
    if not there:
        raise KitError(f"no fold of {run.name} is trained; type `kit train`")
    return run.folds(folds) if folds else there


def _report(fold: RunFold) -> float | None:
    competition, samples = fold.run.competition, fold.run.samples
    views = f"with {counted(len(view_set(fold.run)), 'view')}"
    on_test = f"{(samples.index['split'] == 'test').sum():,} test images"
    if len(samples.labelled_test_rows):
        truth = samples.index.iloc[samples.labelled_test_rows][["image_id", *competition.targets]]
        on_test += f" ({competition.scoring.name} {_table_score(competition, fold.test().merge(truth)):.4f})"
    if fold.number == "full":
        console.stage("predict", f"{fold.title}: {on_test} {views}; no CV, it has seen every training image")
        return None
    value = _table_score(competition, fold.oof())
    console.stage("predict", f"{fold.title}  OOF {competition.scoring.name} {value:.4f} {views}, {on_test}")
    return value


def _prior(run: Run) -> np.ndarray:
    """float32 (C,): the training targets' mean: the best prediction for an unreadable picture."""
    samples = run.samples
    seen = samples.targets[samples.training_rows("full")]
    if seen.ndim == 1:
        seen = np.eye(run.competition.outputs.count)[seen]
    return seen.mean(axis=0).astype(np.float32)


def _table_score(competition: Competition, table: pd.DataFrame) -> float:
    return competition.scoring.score(targets(table, competition), predictions(table, competition))
