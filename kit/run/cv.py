"""The cross-validated score: of all OOF predictions, as they would be submitted."""

from typing import Any

import numpy as np

from kit import console
from kit.competition import Competition
from kit.metrics import shown_metrics
from kit.run.hand_in import HandIn, Scored
from kit.run.member import Member
from kit.scoring.bootstrap import bootstrap_interval


def cross_validation(scored: Scored, competition: Competition) -> dict[str, Any]:
    """For every metric: pooled over all OOF, mean, std and value by fold, 95 % interval of the pooled score. The
    competition's own metric scores what would be submitted: clipped, postprocessed."""
    truth, metrics = scored.truth, dict[str, Any]()
    for metric in shown_metrics(competition.task, truth.metric, len(competition.classes)):
        decided = scored.decisions(metric)
        rows = [truth.folds == fold for fold in np.unique(truth.folds)]
        each = [metric.measure(truth.targets[own], decided[own]) for own in rows]
        metrics[metric.name] = {
            "pooled": metric.measure(truth.targets, decided), "mean": float(np.mean(each)), "std": float(np.std(each)),
            "folds": each, "interval": list(bootstrap_interval(truth.by(metric), decided)),
        }  # fmt: skip
    return {"metric": truth.metric.name, "num_images": len(scored.oof), "metrics": metrics}


def show_cross_validation(members: list[Member], cv: dict[str, Any], hand_in: HandIn) -> None:
    competition = hand_in.competition
    views = [(members[0].name, cv, len(members[0].tests))]
    if len(members) > 1:
        views = []
        for member in members:
            own = cross_validation(hand_in.scored(member.oof), competition)
            views.append((member.name, own, len(member.tests)))
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
