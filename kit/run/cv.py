"""The cross-validated score: of all OOF predictions, as they would be handed in."""

from typing import Any

import numpy as np
import pandas as pd

from kit import console
from kit.data.table import predictions
from kit.metrics import shown_metrics
from kit.metrics.metric import EPSILON, Metric
from kit.run.blending import HandIn
from kit.run.member import Member
from kit.scoring.bootstrap import bootstrap_interval
from kit.scoring.postprocess import Postprocess
from kit.scoring.truth import Truth


def cross_validation(oof: pd.DataFrame, hand_in: HandIn, post: Postprocess) -> dict[str, Any]:
    """For every metric: pooled over all OOF, mean, std and value by fold, 95 % interval of the pooled score. The
    competition's own is of what would be handed in: clipped, postprocessed."""
    competition, truth, probs = hand_in.competition, hand_in.truth(oof), predictions(oof, hand_in.competition)
    metrics: dict[str, Any] = {}
    for metric in shown_metrics(competition.task, truth.metric, len(competition.classes)):
        if metric.name == truth.metric.name:
            decided = oof_decisions(truth, probs, post)
        else:
            decided = metric.decide_for(truth.targets, probs, params_of(metric, truth, post.plain))
        rows = [truth.folds == fold for fold in np.unique(truth.folds)]
        each = [metric.measure(truth.targets[own], decided[own]) for own in rows]
        metrics[metric.name] = {
            "pooled": metric.measure(truth.targets, decided), "mean": float(np.mean(each)), "std": float(np.std(each)),
            "folds": each, "interval": list(bootstrap_interval(truth.by(metric), decided)),
        }  # fmt: skip
    return {"metric": truth.metric.name, "num_images": len(oof), "metrics": metrics}


def oof_decisions(truth: Truth, probs: np.ndarray, post: Postprocess) -> np.ndarray:
    """What would be handed in for the OOF images: postprocessed as in CV, where it was fitted on these."""
    if len(post.decisions) == len(truth.targets):
        return post.decisions
    return truth.metric.decide_for(truth.targets, probs, post.plain)


def params_of(metric: Metric, truth: Truth, params: dict[str, Any]) -> dict[str, Any]:
    """What was fitted or fixed for the competition's own metric; the others share its clip."""
    return params if metric.name == truth.metric.name else {"clip": params.get("clip", EPSILON)}


def show_cross_validation(members: list[Member], cv: dict[str, Any], hand_in: HandIn) -> None:
    competition = hand_in.competition
    views = [(members[0].name, cv, len(members[0].tests))]
    if len(members) > 1:
        views = []
        for member in members:
            post = hand_in.postprocess(hand_in.truth(member.oof), predictions(member.oof, competition))
            views.append((member.name, cross_validation(member.oof, hand_in, post), len(member.tests)))
        views.append(("blend", cv, sum(len(member.tests) for member in members)))
    rows = []
    for name, one, _ in views:
        for metric, values in one["metrics"].items():
            if np.isnan(values["pooled"]):  # ROC AUC where a class does not occur
                continue
            label = name if metric == competition.metric else ""
            interval = "{:.4f} to {:.4f}".format(*values["interval"])
            by_fold = f"{values['mean']:.4f} ± {values['std']:.4f}"
            rows.append([label, metric, f"{values['pooled']:.4f}", interval, by_fold])
    title = f"Cross-validation: {cv['num_images']:,} images, each predicted by models that never saw it"
    console.table(title, ["run", "metric", "pooled", "95 % interval", "mean ± std"], rows)
    for name, one, num_models in views:
        folds = "  ".join(f"{value:.4f}" for value in one["metrics"][competition.metric]["folds"])
        console.stage("ensemble", f"{name}, {num_models} models, {competition.metric} by fold: {folds}")
    accuracy = cv["metrics"].get("accuracy", {}).get("pooled", 1.0)
    if accuracy < 1 / competition.num_outputs:
        console.warn("worse than guessing: are the classes swapped?")
