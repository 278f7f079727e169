"""A run as a member of a blend: its OOF and its test predictions, read from its folds' files."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from kit import console
from kit.data.rows import files_of
from kit.data.table import predictions
from kit.errors import KitError, examples
from kit.run.files import run_names
from kit.run.run import Run, RunFold
from kit.workspace import file_hash, fingerprint, read_json


@dataclass(frozen=True)
class Member:
    """`oof`: image_id, fold, targets, predictions. `tests`: one float (N, C) per model, with `test_ids` as rows. `run`:
    whose it is, or beside which a friend's predictions are read."""

    name: str
    run: Run
    oof: pd.DataFrame
    test_ids: list[str]
    tests: list[np.ndarray]
    files: list[Path]
    by_friend: bool = False


def read_member(run: Run, use_full: bool = False) -> Member:
    """A run's predictions, each checked against the model in its folder. `use_full`: test predictions are of `--fold
    full` alone. Raises `KitError` where there are none, or where they do not belong together."""
    folder, competition = run.files.folder, run.competition
    predicted = [fold for fold in run.folds() if fold.files.predicted.is_file()]
    full = run.fold("full")
    if use_full and not full.files.test.is_file():
        raise KitError(f"{full.files.test}: no such file; type `kit train --fold full`, then `kit predict --fold full`")
    if not predicted and not use_full:
        there = full.files.test.is_file()
        hint = "; for the model trained on all data alone: --set ensemble.models=full" if there else ""
        raise KitError(f"{folder}: no fold is predicted; type `kit train`, then `kit predict`{hint}")
    _warn(run, len(predicted), use_full)
    oofs = [fold.oof() for fold in predicted]
    models = [full] if use_full else predicted
    tests = [fold.test() for fold in models]
    _require_same_origin(run, [*([full] if use_full else []), *predicted])
    if any(table["image_id"].tolist() != tests[0]["image_id"].tolist() for table in tests):
        raise KitError(f"{folder}: its folds predict different test images; type `kit predict --force`")
    columns = ["image_id", "fold", *competition.targets, *competition.predictions]
    oof = pd.concat(oofs, ignore_index=True) if oofs else pd.DataFrame(columns=columns)
    if oof["image_id"].duplicated().any():
        raise KitError(f"{folder}: an image has two OOF predictions; type `kit predict --force`")
    tables_read = [*(fold.files.oof for fold in predicted), *(fold.files.test for fold in models)]
    files = [file for table in tables_read for file in files_of(table)]
    probs = [predictions(table, competition) for table in tests]
    return Member(run.name, run, oof, tests[0]["image_id"].tolist(), probs, files)


def _warn(run: Run, num_predicted: int, use_full: bool) -> None:
    experiment, name = run.experiment, run.name
    num_folds = experiment.data.num_folds
    if 0 < num_predicted < num_folds:
        console.warn(f"{name}: {num_predicted} of {num_folds} folds are predicted; the CV covers these only")
    for reason in picked_by_own_fold(run):
        console.warn(f"{name}: {reason}, so its weights were picked on the images that score them: optimistic CV")
    if use_full and (experiment.train.early_stopping or experiment.train.select == "best"):
        console.warn(f"{name}: `--fold full` has no images to stop or choose by: it takes the last of all its epochs")


def picked_by_own_fold(run: Run) -> list[str]:
    """Where a fold's own images decided which weights score them; inherited from a start or a teacher."""
    train, model = run.experiment.train, run.experiment.model
    reasons = ["train.select is best"] if train.select == "best" else []
    if train.early_stopping is not None:
        reasons.append("train.early_stopping stops each fold by its own loss")
    for key, other in (("model.start", model.start), ("train.pseudo_run", train.pseudo_run)):
        if other is not None and other in run_names(run.workspace.runs):
            earlier = picked_by_own_fold(Run.named(other, run.workspace))
            reasons += [f"{key} is {other}, and there {reason}" for reason in earlier]
    return reasons


def searched_folds(run: Run) -> set[int]:
    """The folds that a search chose the run's experiment by, or that of a start or a teacher."""
    folds, train, model = set(run.experiment.searched_folds), run.experiment.train, run.experiment.model
    for other in (model.start, train.pseudo_run):
        if other is not None and other in run_names(run.workspace.runs):
            folds |= searched_folds(Run.named(other, run.workspace))
    return folds


def _require_same_origin(run: Run, folds: list[RunFold]) -> None:
    """Predictions count only when the models in their folders made them, all with the same views."""
    views = set()
    for fold in folds:
        facts = read_json(fold.files.predicted)
        views.add(fingerprint(facts.get("tta")))
        if not fold.files.model.is_file() or file_hash(fold.files.model) != facts.get("model"):
            raise KitError(
                f"{fold.files.folder}: its predictions are not from the model in this folder; type `kit predict`"
            )
    if len(views) > 1:
        raise KitError(f"{run.files.folder}: its folds were predicted with different TTA views; type `kit predict`")


def require_same_test(members: list[Member]) -> None:
    """Refuse (`KitError`) members that predict different test images."""
    for member in members[1:]:
        if member.test_ids != members[0].test_ids:
            differing = set(member.test_ids) ^ set(members[0].test_ids)
            raise KitError(f"runs {members[0].name} and {member.name} predict different images ({examples(differing)})")
