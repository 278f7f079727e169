"""A run as a member of a blend: its OOF and its test predictions, read from its folds' files."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from kit import console
from kit.competition import Competition
from kit.config import Experiment
from kit.data.table import predictions, read_rows
from kit.errors import ConfigError, KitError, examples, nearest
from kit.workspace import Fold, Workspace, file_hash, fingerprint, read_json


@dataclass(frozen=True)
class Member:
    """`oof`: image_id, fold, targets, predictions. `tests`: a float (N, C) per model, its rows are `test_ids`."""

    name: str
    oof: pd.DataFrame
    test_ids: list[str]
    tests: list[np.ndarray]
    files: list[Path]


def read_member(workspace: Workspace, competition: Competition, name: str, use_full: bool = False) -> Member:
    """A run's predictions, each of the model that stands beside it. `use_full`: the test's are of `--fold full` alone.

    Raises `KitError` where there are none, or where they do not belong together.
    """
    folder = workspace.run(name)
    if not (folder / "experiment.yaml").is_file():
        there = sorted(path.parent.name for path in folder.parent.glob("*/experiment.yaml"))
        raise ConfigError(f"{folder}: no such run{nearest(name, there)}")
    own = Experiment.load(folder / "experiment.yaml")
    if Competition.load(own.competition).name != competition.name:
        raise ConfigError(f"run {name} is of {own.competition}, not of {competition.name}")
    folds = range(own.data.num_folds)
    predicted = [fold for fold in folds if (workspace.fold(name, fold) / ".predict.json").is_file()]
    full = workspace.fold(name, "full") / "test.csv"
    if use_full and not full.is_file():
        raise KitError(f"{full}: no such file; type `kit train --fold full`, then `kit predict --fold full`")
    if not predicted and not use_full:
        hint = "; for the model of all training data alone: --set ensemble.members=full" if full.is_file() else ""
        raise KitError(f"{folder}: no fold is predicted; type `kit train`, then `kit predict`{hint}")
    if 0 < len(predicted) < own.data.num_folds:
        console.warn(f"{name}: {len(predicted)} of {own.data.num_folds} folds are predicted; the CV covers these only")
    for reason in _picked_by_own_fold(workspace, own):
        console.warn(f"{name}: {reason}, so its weights were picked on the images that score them: optimistic CV")
    if use_full and (own.train.early_stopping or own.train.select == "best"):
        console.warn(f"{name}: `--fold full` has no images to stop or choose by: it is the last of all its epochs")
    oof_files = [workspace.fold(name, fold) / "oof.csv" for fold in predicted]
    test_files = [full] if use_full else [workspace.fold(name, fold) / "test.csv" for fold in predicted]
    oofs = [read_rows(file) for file in oof_files]
    tests = [read_rows(file) for file in test_files]
    _same_origin(workspace, name, ["full"] if use_full else [], predicted)
    if any(table["image_id"].tolist() != tests[0]["image_id"].tolist() for table in tests):
        raise KitError(f"{folder}: its folds predict different test images; type `kit predict --force`")
    oof = (
        pd.concat(oofs, ignore_index=True)
        if oofs
        else pd.DataFrame(columns=["image_id", "fold", *competition.targets, *competition.predictions])
    )
    if oof["image_id"].duplicated().any():
        raise KitError(f"{folder}: an image has two OOF predictions; type `kit predict --force`")
    files = [*oof_files, *test_files]
    return Member(name, oof, tests[0]["image_id"].tolist(), [predictions(table, competition) for table in tests], files)


def _picked_by_own_fold(workspace: Workspace, run: Experiment) -> list[str]:
    """What let a fold's own images decide which weights score them; a start or a teacher hands it on."""
    reasons = ["train.select is best"] if run.train.select == "best" else []
    if run.train.early_stopping is not None:
        reasons.append("train.early_stopping ends each fold by its own loss")
    for key, other in (("model.start", run.model.start), ("train.pseudo_run", run.train.pseudo_run)):
        file = workspace.run(other or "") / "experiment.yaml"
        if other is not None and file.is_file():
            earlier = _picked_by_own_fold(workspace, Experiment.load(file))
            reasons += [f"{key} is {other}, and there {reason}" for reason in earlier]
    return reasons


def _same_origin(workspace: Workspace, name: str, full: list[Fold], folds: list[int]) -> None:
    """Predictions count only when they are of the models that stand beside them, and all by the same views."""
    views = set()
    for fold in [*full, *folds]:
        place = workspace.fold(name, fold)
        facts, model = read_json(place / ".predict.json"), place / "model.safetensors"
        views.add(fingerprint(facts.get("tta")))
        if not model.is_file() or file_hash(model) != facts.get("model"):
            raise KitError(f"{place}: its predictions are not of the model beside them; type `kit predict`")
    if len(views) > 1:
        raise KitError(f"{workspace.run(name)}: its folds were predicted with different TTA views; type `kit predict`")


def same_test(members: list[Member]) -> None:
    """Refuse (`KitError`) members that predict different test images."""
    for member in members[1:]:
        if member.test_ids != members[0].test_ids:
            differing = set(member.test_ids) ^ set(members[0].test_ids)
            raise KitError(
                f"runs {members[0].name} and {member.name} predict other test images ({examples(differing)})"
            )
