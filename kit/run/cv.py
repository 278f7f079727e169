"""The cross-validated score: of all OOF predictions, as they would be submitted."""

from typing import Any

import numpy as np

from kit import console
from kit.competition import Competition
from kit.errors import counted
from kit.run.hand_in import HandIn, Scored
from kit.run.member import Member, picked_by_own_fold, searched_folds
from kit.scoring.bootstrap import bootstrap_interval


def cross_validation(scored: Scored, competition: Competition) -> dict[str, Any]:
    """For every metric: pooled over all OOF, mean, std and value by fold, 95 % interval of the pooled score. The
    competition's own metric scores what would be submitted: clipped, postprocessed. A fold that lacks a class has no
    ROC AUC, and counts in no mean."""
    truth, metrics = scored.truth, dict[str, Any]()
    for metric in competition.shown:
        decided = scored.decisions(metric)
        rows = [truth.folds == fold for fold in np.unique(truth.folds)]
        each = [metric.measure(truth.targets[own], decided[own]) for own in rows]
        finite = [value for value in each if not np.isnan(value)] or [float("nan")]
        metrics[metric.name] = {
            "pooled": metric.measure(truth.targets, decided), "mean": float(np.mean(finite)),
            "std": float(np.std(finite)), "folds": each,
            "interval": list(bootstrap_interval(truth.by(metric), decided)),
        }  # fmt: skip
    return {"metric": truth.metric.name, "num_images": len(scored.oof), "metrics": metrics}


def on_untouched(scored: Scored, members: list[Member]) -> dict[str, Any] | None:
    """The score on the images that no member's corrections drop or relabel: what is learned from a correction shows in
    the score of all, what is gained by leaving hard images out only here. `None` where nothing is corrected."""
    touched = set().union(*(member.run.touched_images() for member in members))
    if not touched:
        return None
    rows, truth = ~scored.oof["image_id"].isin(touched).to_numpy(), scored.truth
    decided = scored.decisions(truth.metric)[rows]
    return {"num_images": int(rows.sum()), "score": truth.metric.measure(truth.targets[rows], decided)}


def on_other_folds(scored: Scored, members: list[Member]) -> dict[str, Any] | None:
    """The score on the folds that no search chose an experiment by (`score` is `None` where it looked at all of them);
    `None` where there was no search."""
    searched = sorted(set().union(*(searched_folds(member.run) for member in members)))
    if not searched:
        return None
    rows, truth = ~np.isin(scored.truth.folds, searched), scored.truth
    score = truth.metric.measure(truth.targets[rows], scored.decisions(truth.metric)[rows]) if rows.any() else None
    return {"searched_folds": searched, "num_images": int(rows.sum()), "score": score}


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
            label = name if metric == competition.scoring.name else ""
            interval = "{:.4f} to {:.4f}".format(*values["interval"])
            num_folds, scored = len(values["folds"]), int(np.sum(~np.isnan(values["folds"])))
            spread = f" ± {values['std']:.4f}" if scored > 1 else ""
            by_fold = f"{values['mean']:.4f}{spread}" if scored else "no fold has all classes"
            by_fold += f" ({scored} of {num_folds} folds)" if 0 < scored < num_folds else ""
            rows.append([label, metric, f"{values['pooled']:.4f}", interval, by_fold])
    title = f"Cross-validation: {cv['num_images']:,} images, each predicted by models that never saw it"
    console.table(title, ["run", "metric", "pooled", "95 % interval", "mean ± std"], rows)
    picked = {reason: None for member in members for reason in picked_by_own_fold(member.run) if not member.by_friend}
    for name, one, num_models in views:
        values = one["metrics"][competition.scoring.name]["folds"]
        folds = "  ".join("none" if np.isnan(value) else f"{value:.4f}" for value in values)
        console.stage(
            "ensemble", f"{name}, {counted(num_models, 'model')}, {competition.scoring.name} by fold: {folds}"
        )
    if picked:
        console.stage(
            "ensemble", f"optimistic, as weights were picked on the images that score them: {'; '.join(picked)}"
        )
    if cv["untouched"] is not None:
        left = f"{cv['untouched']['num_images']:,} images that data.corrections leaves alone"
        console.stage("ensemble", f"on the {left}: {competition.scoring.name} {cv['untouched']['score']:.4f}")
    if cv["other_folds"] is not None:
        folds = ", ".join(map(str, cv["other_folds"]["searched_folds"]))
        text, score = (
            f"fold {folds} chose the experiment (kit search), so its score flatters",
            cv["other_folds"]["score"],
        )
        left = f"; on the other {cv['other_folds']['num_images']:,} images: {competition.scoring.name} {score or 0:.4f}"
        console.stage("ensemble", text + (left if score is not None else ", and there is no other"))
    accuracy = cv["metrics"].get("accuracy", {}).get("pooled", 1.0)
    if accuracy < 1 / competition.outputs.count:
        console.warn("worse than guessing" + (": are the classes swapped?" if len(competition.classes) == 2 else ""))
