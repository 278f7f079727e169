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
from kit.assembly.blending import Joined, join_members, postprocess
from kit.assembly.expecting import expect_score
from kit.assembly.showing import draw_reliability
from kit.competition import Competition
from kit.config import Experiment
from kit.data.members import Member, read_member, same_test
from kit.data.table import labelled_test, predictions, read_index, targets, training_groups
from kit.errors import ConfigError, KitError, examples
from kit.kaggle.submission import make_submission, read_sample, validate
from kit.scoring.blend import mean_predictions
from kit.scoring.bootstrap import bootstrap_interval
from kit.scoring.metrics import EPSILON, decide, decide_for, measure
from kit.scoring.postprocess import Postprocess
from kit.tasks import shown_metrics
from kit.workspace import Workspace, atomic_path, file_hash, read_json, write_json


@dataclass(frozen=True)
class EnsembleResult:
    submission: Path
    passport: Path
    metric: str
    cv: float | None  # pooled over all OOF; none where only a `full` model was submitted
    num_rows: int
    test_scores: dict[str, float]  # of a competition that gives the test labels away, else empty


def run(
    experiment: Experiment, workspace: Workspace, runs: Sequence[str] = (), name: str | None = None
) -> EnsembleResult:
    """Mean over folds, then a blend of runs (default: the experiment's own); write and validate the submission."""
    competition = Competition.load(experiment.competition)
    names = list(dict.fromkeys(runs)) or [experiment.name]
    name = name or (names[0] if len(names) == 1 else experiment.name + "-blend")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ConfigError(f"--name {name}: expected letters, digits, dots, dashes and underscores")
    if names != [name] and (workspace.run(name) / "experiment.yaml").is_file():
        raise ConfigError(f"--name {name}: is a run's name; this submission needs one of its own")
    full = experiment.ensemble.members == "full"
    members = [read_member(workspace, competition, run_name, full) for run_name in names]
    group_of = training_groups(read_index(workspace.index(competition.name)))
    joined = join_members(members, competition, experiment, group_of)
    oof, recipe = joined.oof, joined.recipe
    post = _postprocess(oof, competition, experiment, group_of)
    cv = _cv(oof, competition, post, group_of) if len(oof) else None
    same_test(members)
    average, task = experiment.ensemble.average, competition.task
    blended = recipe.apply([mean_predictions(member.tests, average, task) for member in members], task)
    if cv is not None:
        _report(members, oof, cv, competition, experiment, group_of)
        _report_postprocess(post, competition.metric)
        cv["expected"] = expect_score(workspace, competition, oof, post, group_of, members[0].test_ids, blended)
        if full:
            console.warn("this CV is of the fold models; the submission is of the model of all training data")
        folder = workspace.run(name)
        with atomic_path(folder / "oof.csv") as temporary:
            oof.to_csv(temporary, index=False, float_format="%.8g")
        write_json(folder / "cv.json", cv)
        draw_reliability(name, oof, competition, post, folder / "figures" / "reliability.png")
    else:
        console.warn("a model of all training data has no CV")

    decisions = decide(competition.metric, competition.task == "labels", blended, post.params)
    test_scores = _score_test(workspace, competition, members[0].test_ids, blended, post)
    sample = read_sample(competition, workspace.raw(competition.name), members[0].test_ids)
    table = make_submission(competition, sample, members[0].test_ids, decisions)
    path = workspace.submission(name)
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.8g")
        verdict = validate(competition, sample, temporary)
        if verdict.errors:
            raise KitError(f"{path}: {'; '.join(verdict.errors)}")
    for doubt in verdict.doubts:
        console.warn(f"{path}: {doubt}")
    passport = path.with_suffix(".json")
    facts = {"cv": cv, "postprocess": _describe_postprocess(post), "test": test_scores}
    write_json(passport, _passport(path, competition, members, joined, passport) | facts)
    console.stage("ensemble", f"{path}: {len(table):,} rows, valid")
    pooled = cv["metrics"][competition.metric]["pooled"] if cv else None
    return EnsembleResult(path, passport, competition.metric, pooled, len(table), test_scores)


def _postprocess(
    oof: pd.DataFrame, competition: Competition, experiment: Experiment, group_of: dict[str, int]
) -> Postprocess:
    groups = oof["image_id"].map(group_of).to_numpy()
    wanted, said = targets(oof, competition), predictions(oof, competition)
    return postprocess(experiment, competition, wanted, said, oof["fold"].to_numpy(), groups)


def _report_postprocess(post: Postprocess, metric: str) -> None:
    if post.difference is None or post.after is None:
        return
    interval = "{:+.4f} to {:+.4f}".format(*post.difference.interval)
    text = f"{metric} {post.before:.4f} -> {post.after:.4f} (cross-fitted; difference {interval}): "
    values = ", ".join(f"{key} {_short(value)}" for key, value in post.params.items())
    console.stage("ensemble", f"postprocessing {text}{'kept, ' + values if post.kept else 'no sure gain, left out'}")


def _short(value: Any) -> str:
    if isinstance(value, list):
        return "[" + examples((f"{one:.3g}" for one in value), 6) + "]"
    return f"{value:.4g}"


def _describe_postprocess(post: Postprocess) -> dict[str, Any]:
    interval = list(post.difference.interval) if post.difference else None
    facts = {"before": post.before, "after": post.after, "difference": interval} if post.after is not None else {}
    return {"params": post.params, "kept": post.kept, **facts}


def _score_test(
    workspace: Workspace, competition: Competition, test_ids: list[str], blended: np.ndarray, post: Postprocess
) -> dict[str, float]:
    """Every metric on the test images whose target is known."""
    index = read_index(workspace.index(competition.name))
    known = index[labelled_test(index)]
    if known.empty:
        return {}
    row_of = {image_id: row for row, image_id in enumerate(test_ids)}
    new = [image_id for image_id in known["image_id"] if image_id not in row_of]
    if new:
        raise KitError(f"{len(new):,} test images came after `kit predict` ({examples(new)}); type `kit predict` again")
    wanted, said = targets(known, competition), blended[[row_of[i] for i in known["image_id"]]]
    scores, rows = {}, []
    for metric in shown_metrics(competition.task, competition.metric, len(competition.classes)):
        params = post.params if metric == competition.metric else {"clip": post.params.get("clip", EPSILON)}
        decided = decide_for(metric, wanted, said, params)
        scores[metric] = measure(metric, wanted, decided)
        interval = "{:.4f} to {:.4f}".format(*bootstrap_interval(metric, wanted, decided))
        rows.append([metric, f"{scores[metric]:.4f}", interval])
    title = f"Test set: {len(known):,} images whose labels are given, never trained on"
    console.table(title, ["metric", "score", "95 % interval"], rows)
    return scores


def _cv(oof: pd.DataFrame, competition: Competition, post: Postprocess, group_of: dict[str, int]) -> dict[str, Any]:
    """For every metric: pooled over all OOF, mean, std and value by fold, 95 % interval of the pooled score.

    The competition's own is of what would be handed in: clipped, postprocessed.
    """
    wanted, said, folds = targets(oof, competition), predictions(oof, competition), oof["fold"].to_numpy()
    groups = oof["image_id"].map(group_of).to_numpy()
    metrics: dict[str, Any] = {}
    for metric in shown_metrics(competition.task, competition.metric, len(competition.classes)):
        own = metric == competition.metric and len(post.decisions) == len(oof)
        plain = post.plain if metric == competition.metric else {"clip": post.plain.get("clip", EPSILON)}
        decided = post.decisions if own else decide_for(metric, wanted, said, plain)
        each = [measure(metric, wanted[folds == fold], decided[folds == fold]) for fold in np.unique(folds)]
        metrics[metric] = {
            "pooled": measure(metric, wanted, decided), "mean": float(np.mean(each)), "std": float(np.std(each)),
            "folds": each, "interval": list(bootstrap_interval(metric, wanted, decided, groups)),
        }  # fmt: skip
    return {"metric": competition.metric, "num_images": len(oof), "metrics": metrics}


def _report(
    members: list[Member],
    oof: pd.DataFrame,
    cv: dict[str, Any],
    competition: Competition,
    experiment: Experiment,
    group_of: dict[str, int],
) -> None:
    views = [(members[0].name, cv, len(members[0].tests))]
    if len(members) > 1:
        views = []
        for member in members:
            post = _postprocess(member.oof, competition, experiment, group_of)
            views.append((member.name, _cv(member.oof, competition, post, group_of), len(member.tests)))
        views.append(("blend", cv, sum(len(member.tests) for member in members)))
    rows = []
    for name, one, _ in views:
        for metric, values in one["metrics"].items():
            if np.isnan(values["pooled"]):  # ROC AUC where a class does not occur
                continue
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
    accuracy = cv["metrics"].get("accuracy", {}).get("pooled", 1.0)
    if accuracy < 1 / competition.num_outputs:
        console.warn("worse than guessing: are the classes swapped?")


def _passport(
    path: Path,
    competition: Competition,
    members: list[Member],
    joined: Joined,
    previous: Path,
) -> dict[str, Any]:
    history = read_json(previous).get("kaggle", []) if previous.is_file() else []
    return {
        "competition": competition.name,
        "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "kit": kit.__version__,
        "sha256": file_hash(path),
        "average": joined.recipe.average,
        "blend": {"method": joined.recipe.method, "bias": list(joined.recipe.bias)},
        "members": [_describe(member, one) for member, one in zip(members, joined.facts, strict=True)],
        "kaggle": history,
    }


def _describe(member: Member, worth: dict[str, Any]) -> dict[str, Any]:
    inputs = {f"{file.parent.name}/{file.name}": file_hash(file) for file in member.files}
    return {**worth, "models": len(member.tests), "inputs": inputs}
