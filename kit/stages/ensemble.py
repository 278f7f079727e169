"""ensemble: the folds of one or more runs -> `runs/<name>/oof.csv`, `cv.json`, and a validated submission."""

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import kit
from kit import console
from kit.competition import Competition
from kit.config import Experiment
from kit.data.table import TARGET, class_numbers, labelled_test, read_index, read_rows
from kit.errors import ConfigError, KitError, examples, nearest
from kit.kaggle.submission import make_submission, read_sample, validate
from kit.scoring.blend import mean_probs
from kit.scoring.metrics import all_scores, bootstrap_interval, score
from kit.workspace import Fold, Workspace, atomic_path, file_hash, fingerprint, read_json, write_json


@dataclass(frozen=True)
class EnsembleResult:
    submission: Path
    passport: Path
    metric: str
    cv: float | None  # pooled over all OOF; none where only a `full` model was submitted
    num_rows: int
    test_scores: dict[str, float]  # of a competition that gives the test labels away, else empty


@dataclass(frozen=True)
class _Member:
    """One run's predictions. `oof`: image_id, fold, target, prob_*; `test`: ids and float (N, C)."""

    name: str
    oof: pd.DataFrame
    test_ids: list[str]
    test: np.ndarray
    num_models: int
    files: list[Path]


def run(
    experiment: Experiment, workspace: Workspace, runs: Sequence[str] = (), name: str | None = None
) -> EnsembleResult:
    """Mean over folds, then over runs (default: the experiment's own); write and validate the submission."""
    competition = Competition.load(experiment.competition)
    names = list(dict.fromkeys(runs)) or [experiment.name]
    name = name or (names[0] if len(names) == 1 else experiment.name + "-blend")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ConfigError(f"--name {name}: expected letters, digits, dots, dashes and underscores")
    if names != [name] and (workspace.run(name) / "experiment.yaml").is_file():
        raise ConfigError(f"--name {name}: is a run's name; this submission needs one of its own")
    members = [_read_member(run_name, experiment, workspace, competition) for run_name in names]
    oof = _blend_oof(members, competition, experiment)
    clip = experiment.ensemble.clip
    cv = _cv(oof, competition, clip) if len(oof) else None
    _same_test(members)
    blended = mean_probs([member.test for member in members], experiment.ensemble.average)
    if cv is not None:
        _report(members, oof, cv, competition, clip)
        if experiment.ensemble.members == "full":
            console.warn("this CV is of the fold models; the submission is of the model of all training data")
        folder = workspace.run(name)
        with atomic_path(folder / "oof.csv") as temporary:
            oof.to_csv(temporary, index=False, float_format="%.8g")
        write_json(folder / "cv.json", cv)
    else:
        console.warn("a model of all training data has no CV")

    test_scores = _score_test(workspace, competition, members[0].test_ids, blended, clip)
    sample = read_sample(competition, workspace.raw(competition.name), members[0].test_ids)
    table = make_submission(competition, sample, members[0].test_ids, blended, experiment.ensemble.clip)
    path = workspace.submission(name)
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.8g")
        verdict = validate(competition, sample, temporary)
        if verdict.errors:
            raise KitError(f"{path}: {'; '.join(verdict.errors)}")
    for doubt in verdict.doubts:
        console.warn(f"{path}: {doubt}")
    passport = path.with_suffix(".json")
    write_json(passport, _passport(path, competition, members, experiment, cv, passport) | {"test": test_scores})
    console.stage("ensemble", f"{path}: {len(table):,} rows, valid")
    pooled = cv["metrics"][competition.metric]["pooled"] if cv else None
    return EnsembleResult(path, passport, competition.metric, pooled, len(table), test_scores)


def _score_test(
    workspace: Workspace, competition: Competition, test_ids: list[str], probs: np.ndarray, clip: float
) -> dict[str, float]:
    """Every metric on the test images whose class is known."""
    index = read_index(workspace.index(competition.name))
    known = index[labelled_test(index)]
    if known.empty:
        return {}
    row_of = {image_id: row for row, image_id in enumerate(test_ids)}
    targets, probs = class_numbers(known, competition.classes), probs[[row_of[i] for i in known["image_id"]]]
    scores = all_scores(targets, _as_submitted(probs, competition, clip))
    rows = [
        [metric, f"{scores[metric]:.4f}", "{:.4f} to {:.4f}".format(*bootstrap_interval(metric, targets, probs))]
        for metric in sorted(scores, key=lambda m: m != competition.metric)
    ]
    title = f"Test set: {len(known):,} images whose labels are given, never trained on"
    console.table(title, ["metric", "score", "95 % interval"], rows)
    return scores


def _as_submitted(probs: np.ndarray, competition: Competition, clip: float) -> np.ndarray:
    """Where probabilities are submitted, they are clipped."""
    return probs if competition.submission.format == "label" else np.clip(probs, clip, 1 - clip)


def _read_member(name: str, experiment: Experiment, workspace: Workspace, competition: Competition) -> _Member:
    folder = workspace.run(name)
    if not (folder / "experiment.yaml").is_file():
        there = sorted(path.parent.name for path in folder.parent.glob("*/experiment.yaml"))
        raise ConfigError(f"{folder}: no such run{nearest(name, there)}")
    own = Experiment.load(folder / "experiment.yaml")
    if own.competition != experiment.competition:
        raise ConfigError(f"run {name} is of {own.competition}, not of {experiment.competition}")
    folds = range(own.data.num_folds)
    predicted = [fold for fold in folds if (workspace.fold(name, fold) / ".predict.json").is_file()]
    full = workspace.fold(name, "full") / "test.csv"
    use_full = experiment.ensemble.members == "full"
    if use_full and not full.is_file():
        raise KitError(f"{full}: no such file; type `kit train --fold full`, then `kit predict --fold full`")
    if not predicted and not use_full:
        raise KitError(f"{folder}: no fold is predicted; type `kit train`, then `kit predict`")
    if 0 < len(predicted) < own.data.num_folds:
        console.warn(f"{name}: {len(predicted)} of {own.data.num_folds} folds are predicted; the CV covers these only")
    if own.train.select == "best":
        console.warn(
            f"{name}: train.select is best, so its weights were picked on the images that score them: optimistic CV"
        )
    columns = [f"prob_{c}" for c in competition.classes]
    oof_files = [workspace.fold(name, fold) / "oof.csv" for fold in predicted]
    test_files = [full] if use_full else [workspace.fold(name, fold) / "test.csv" for fold in predicted]
    oofs = [read_rows(file) for file in oof_files]
    tests = [read_rows(file) for file in test_files]
    _same_origin(workspace, name, ["full"] if use_full else [], predicted)
    if any(table["image_id"].tolist() != tests[0]["image_id"].tolist() for table in tests):
        raise KitError(f"{folder}: its folds predict different test images; type `kit predict --force`")
    test = mean_probs([table[columns].to_numpy() for table in tests], experiment.ensemble.average)
    oof = pd.concat(oofs, ignore_index=True) if oofs else pd.DataFrame(columns=["image_id", "fold", TARGET, *columns])
    if oof["image_id"].duplicated().any():
        raise KitError(f"{folder}: an image has two OOF predictions; type `kit predict --force`")
    return _Member(name, oof, tests[0]["image_id"].tolist(), test, len(test_files), [*oof_files, *test_files])


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


def _blend_oof(members: list[_Member], competition: Competition, experiment: Experiment) -> pd.DataFrame:
    """The members' OOF as one, on the images that all of them scored in the same fold."""
    first = members[0].oof
    columns = [f"prob_{c}" for c in competition.classes]
    aligned = []
    for member in members:
        other = first[["image_id", "fold"]].merge(member.oof, on="image_id", suffixes=("", "_of_member"))
        if (
            len(other) != len(first)
            or len(member.oof) != len(first)
            or (other["fold"] != other["fold_of_member"]).any()
        ):
            raise KitError(f"runs {members[0].name} and {member.name} have other folds; a blend needs the same in both")
        aligned.append(other[columns].to_numpy())
    result = first[["image_id", "fold", TARGET]].copy()
    if len(first):
        result[columns] = mean_probs(aligned, experiment.ensemble.average)
    return result


def _same_test(members: list[_Member]) -> None:
    for member in members[1:]:
        if member.test_ids != members[0].test_ids:
            differing = set(member.test_ids) ^ set(members[0].test_ids)
            raise KitError(
                f"runs {members[0].name} and {member.name} predict other test images ({examples(differing)})"
            )


def _cv(oof: pd.DataFrame, competition: Competition, clip: float) -> dict[str, Any]:
    """For every metric: pooled over all OOF, mean, std and value by fold, 95 % interval of the pooled score.

    Where probabilities are submitted they are clipped here as there.
    """
    targets = class_numbers(oof, competition.classes)
    probs = oof[[f"prob_{c}" for c in competition.classes]].to_numpy()
    probs = _as_submitted(probs, competition, clip)
    folds = oof["fold"].to_numpy()
    metrics: dict[str, Any] = {}
    for metric, pooled in all_scores(targets, probs).items():
        each = [score(metric, targets[folds == fold], probs[folds == fold]) for fold in np.unique(folds)]
        interval = bootstrap_interval(metric, targets, probs)
        metrics[metric] = {
            "pooled": pooled, "mean": float(np.mean(each)), "std": float(np.std(each)),
            "folds": each, "interval": list(interval),
        }  # fmt: skip
    return {"metric": competition.metric, "num_images": len(oof), "metrics": metrics}


def _report(
    members: list[_Member], oof: pd.DataFrame, cv: dict[str, Any], competition: Competition, clip: float
) -> None:
    views = [(member.name, _cv(member.oof, competition, clip), member.num_models) for member in members]
    if len(members) > 1:
        views.append(("blend", cv, sum(member.num_models for member in members)))
    rows = []
    for name, one, _ in views:
        for metric in sorted(one["metrics"], key=lambda m: m != competition.metric):
            values = one["metrics"][metric]
            label = name if metric == competition.metric else ""
            interval = "{:.4f} to {:.4f}".format(*values["interval"])
            rows.append(
                [label, metric, f"{values['pooled']:.4f}", interval, f"{values['mean']:.4f} ± {values['std']:.4f}"]
            )
    title = f"Cross-validation: {len(oof):,} images, each predicted by models that never saw it"
    console.table(title, ["run", "metric", "pooled", "95 % interval", "mean ± std"], rows)
    for name, one, num_models in views:
        folds = "  ".join(f"{value:.4f}" for value in one["metrics"][competition.metric]["folds"])
        console.stage("ensemble", f"{name}, {num_models} models, {competition.metric} by fold: {folds}")
    if cv["metrics"]["accuracy"]["pooled"] < 1 / len(competition.classes):
        console.warn("worse than guessing: are the classes swapped?")


def _passport(
    path: Path,
    competition: Competition,
    members: list[_Member],
    experiment: Experiment,
    cv: dict[str, Any] | None,
    previous: Path,
) -> dict[str, Any]:
    history = read_json(previous).get("kaggle", []) if previous.is_file() else []
    return {
        "competition": competition.name,
        "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "kit": kit.__version__,
        "sha256": file_hash(path),
        "average": experiment.ensemble.average,
        "members": [_describe(member, 1 / len(members)) for member in members],
        "cv": cv,
        "kaggle": history,
    }


def _describe(member: _Member, weight: float) -> dict[str, Any]:
    inputs = {f"{file.parent.name}/{file.name}": file_hash(file) for file in member.files}
    return {"run": member.name, "models": member.num_models, "weight": weight, "inputs": inputs}
