"""For the ensemble: several runs' out-of-fold predictions as one, with what each of them is worth."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from kit import console
from kit.competition import Competition
from kit.config import Experiment
from kit.data.members import Member
from kit.data.table import predictions, targets
from kit.errors import KitError
from kit.scoring.blend import Known, Recipe, blend, fit, nested
from kit.scoring.bootstrap import paired_difference
from kit.scoring.metrics import decide_for, rule, score
from kit.scoring.postprocess import CLIP, Postprocess, compile_for

SURE = 0.95  # so probable must it be that a blend beats its best member


@dataclass(frozen=True)
class Joined:
    """`oof`: the blend's own, each image by weights that its fold had no part in. `facts`: one per member."""

    oof: pd.DataFrame
    recipe: Recipe
    facts: list[dict[str, Any]]


def join_members(
    members: list[Member], competition: Competition, experiment: Experiment, group_of: Mapping[str, int]
) -> Joined:
    """Blend the members' OOF as `ensemble.blend` says; with `auto`, the best alone unless the blend surely beats it."""
    settings, task, metric = experiment.ensemble, competition.task, competition.metric
    first, aligned = members[0].oof, _aligned(members, competition)
    if first.empty or len(members) == 1:
        recipe = Recipe("mean", (1 / len(members),) * len(members), settings.average)
        return Joined(first, recipe, [{"run": m.name, "weight": 1 / len(members)} for m in members])
    wanted, folds = targets(first, competition), first["fold"].to_numpy()
    method = settings.blend
    if len(np.unique(folds)) < 3 and method not in {"best", "mean"}:
        console.warn(f"{len(np.unique(folds))} folds are too few to fit a blend on: the plain mean")
        method = "mean"
    known = Known(metric, wanted, folds, task, settings.average, settings.postprocess == "auto")
    found = blend(method, known, aligned)
    recipe, said = found.recipe, found.oof
    alone = fit("best", known, aligned)
    best = int(np.argmax(alone.weights))
    tried = ", ".join(f"{name} {value:.4f}" for name, value in found.by_method.items())
    console.stage("ensemble", f"blends by {metric} (nested): {tried}")
    better = 0.0  # how probably the blend is better than its best member
    if recipe.method != "best":
        groups = first["image_id"].map(group_of).to_numpy()
        both = [postprocess(experiment, competition, wanted, one, folds, groups) for one in (aligned[best], said)]
        gain = paired_difference(metric, wanted, both[0].decisions, both[1].decisions, groups)
        interval, better = "{:+.4f} to {:+.4f}".format(*gain.interval), gain.probability
        verdict = f"{recipe.method} against {members[best].name} alone: {gain.value:+.4f} ({interval}), better with "
        console.stage("ensemble", f"{verdict}probability {better:.3f}")
    if settings.blend == "auto" and not better >= SURE:
        console.stage("ensemble", f"no sure gain: {members[best].name} alone is handed in")
        recipe, said = alone, nested("best", known, aligned)
    facts = _worth(members, aligned, recipe, known)
    rows = [
        [
            one["run"],
            f"{one['weight']:.3f}",
            f"{one['score']:.4f}",
            f"{one['correlation']:.3f}",
            f"{one['without']:.4f}",
        ]
        for one in facts
    ]
    columns = ["run", "weight", metric, "correlation", f"{metric} without it"]
    console.table(f"Members of the blend ({recipe.method}), before any postprocessing", columns, rows)
    kept = first[["image_id", "fold", *competition.targets]].reset_index(drop=True)
    return Joined(kept.join(pd.DataFrame(said, columns=competition.predictions)), recipe, facts)


def postprocess(
    experiment: Experiment,
    competition: Competition,
    wanted: np.ndarray,
    said: np.ndarray,
    folds: np.ndarray,
    groups: np.ndarray,
) -> Postprocess:
    """What the metric rewards, fitted on OOF (N, C); with `postprocess: none`, or without OOF, what is fixed."""
    metric, settings = competition.metric, experiment.ensemble
    plain: dict[str, Any] = {}
    if metric == "log_loss":
        plain["clip"] = CLIP if settings.clip is None else settings.clip
        plain |= {} if settings.clip is None else {"clips": (settings.clip,)}
    new = competition.submission.new_class
    if new is not None and new in competition.classes:
        plain["new_class"] = competition.classes.index(new)
    elif new is not None:
        plain |= {"new_class": len(competition.classes), "threshold": settings.new_class_threshold}
    if settings.postprocess == "auto" and len(said):
        return compile_for(metric, wanted, said, folds, plain, groups)
    plain.pop("clips", None)
    fixed = plain if "threshold" in plain or "new_class" not in plain else {}
    if len(said) == 0:
        return Postprocess(fixed, said, float("nan"), plain=fixed)
    fixed = fixed | rule(metric, wanted)
    return Postprocess(fixed, decide_for(metric, wanted, said, fixed), float("nan"), plain=fixed)


def _aligned(members: list[Member], competition: Competition) -> list[np.ndarray]:
    """Each member's OOF (N, C) in the first one's order; `KitError` where they are not of the same folds."""
    first, aligned = members[0].oof, []
    for member in members:
        other = first[["image_id", "fold"]].merge(member.oof, on="image_id", suffixes=("", "_of_member"))
        same = len(other) == len(first) == len(member.oof) and (other["fold"] == other["fold_of_member"]).all()
        if not same:
            raise KitError(f"runs {members[0].name} and {member.name} have other folds; a blend needs the same in both")
        if any((other[column] != first[column].to_numpy()).any() for column in competition.targets):
            raise KitError(f"runs {members[0].name} and {member.name} have other labels: data.corrections differ")
        aligned.append(predictions(other, competition))
    return aligned


def _worth(
    members: list[Member],
    aligned: list[np.ndarray],
    recipe: Recipe,
    known: Known,
) -> list[dict[str, Any]]:
    """Of each member: weight, own score, mean correlation with the others, the blend's nested score without it."""
    facts = []
    flat = np.corrcoef([one.ravel() for one in aligned])
    for place, member in enumerate(members):
        others = [one for number, one in enumerate(aligned) if number != place]
        without = nested(recipe.method, known, others)
        facts.append(
            {
                "run": member.name,
                "weight": recipe.weights[place],
                "score": score(known.metric, known.targets, aligned[place]),
                "correlation": float((flat[place].sum() - 1) / (len(aligned) - 1)),
                "without": score(known.metric, known.targets, without),
            }
        )
    return facts
