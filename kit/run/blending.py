"""Several runs' out-of-fold predictions as one, and what each of them is worth."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from kit import console
from kit.competition import Competition
from kit.data.table import predictions
from kit.errors import KitError
from kit.run.hand_in import HandIn, Scored
from kit.run.member import Member
from kit.scoring.blend import Known, Recipe, blend, fit_recipe, nested
from kit.scoring.bootstrap import paired_difference

SURE = 0.95  # a blend is submitted if it beats its best member with at least this probability


@dataclass(frozen=True)
class BlendedRuns:
    """`scored`: the blend's own OOF, each image with weights that its fold had no part in. `facts`: one per member."""

    scored: Scored
    recipe: Recipe
    facts: list[dict[str, Any]]


def blend_runs(members: list[Member], hand_in: HandIn) -> BlendedRuns:
    """Blend the members' OOF as `ensemble.blend` asks; with `auto`, the best alone unless the blend surely beats it."""
    settings, competition = hand_in.settings, hand_in.competition
    first, aligned = members[0].oof, _aligned(members, competition)
    if first.empty or len(members) == 1:
        recipe = Recipe("mean", (1 / len(members),) * len(members), hand_in.average(folds=False))
        facts = [{"run": member.name, "weight": 1 / len(members)} for member in members]
        return BlendedRuns(hand_in.scored(first), recipe, facts)
    truth = hand_in.scored(first).truth
    method, num_folds = settings.blend, len(np.unique(truth.folds))
    if num_folds < 3 and method not in {"best", "mean"}:
        console.warn(f"{num_folds} folds are too few to fit a blend on: taking the plain mean")
        method = "mean"
    known = Known(truth, competition.task, hand_in.average(folds=False), settings.postprocess == "auto")
    found = blend(method, known, aligned)
    recipe, blended = found.recipe, found.oof
    alone = fit_recipe("best", known, aligned)
    best = int(np.argmax(alone.weights))
    tried = ", ".join(f"{name} {value:.4f}" for name, value in found.by_method.items())
    console.stage("ensemble", f"blends by {truth.metric.name} (nested): {tried}")
    better = 0.0  # the probability that the blend beats its best member
    if recipe.method != "best":
        both = [hand_in.postprocess(truth, one) for one in (aligned[best], blended)]
        gain = paired_difference(truth, both[0].decisions, both[1].decisions)
        interval, better = "{:+.4f} to {:+.4f}".format(*gain.interval), gain.probability
        verdict = f"{recipe.method} against {members[best].name} alone: {gain.value:+.4f} ({interval}), better with "
        console.stage("ensemble", f"{verdict}probability {better:.3f}")
    if settings.blend == "auto" and not better >= SURE:
        console.stage("ensemble", f"no certain gain: {members[best].name} alone is submitted")
        recipe, blended = alone, nested("best", known, aligned)
    facts, metric = _worth(members, aligned, recipe, known), truth.metric.name
    formats = {"weight": ".3f", "score": ".4f", "correlation": ".3f", "without": ".4f"}
    rows = [[one["run"], *(f"{one[key]:{form}}" for key, form in formats.items())] for one in facts]
    title = f"Members of the blend ({recipe.method}), before postprocessing"
    console.table(title, ["run", "weight", metric, "correlation", f"{metric} without it"], rows)
    kept = first[["image_id", "fold", *competition.targets]].reset_index(drop=True)
    oof = kept.join(pd.DataFrame(blended, columns=competition.predictions))
    return BlendedRuns(hand_in.scored(oof), recipe, facts)


def _aligned(members: list[Member], competition: Competition) -> list[np.ndarray]:
    """Each member's OOF (N, C) in the first one's order; raises `KitError` where folds or labels differ."""
    first, aligned = members[0].oof, []
    for member in members:
        other = first[["image_id", "fold"]].merge(member.oof, on="image_id", suffixes=("", "_of_member"))
        same = len(other) == len(first) == len(member.oof) and (other["fold"] == other["fold_of_member"]).all()
        if not same:
            raise KitError(f"runs {members[0].name} and {member.name} have different folds; a blend needs the same")
        if any((other[column] != first[column].to_numpy()).any() for column in competition.targets):
            raise KitError(f"runs {members[0].name} and {member.name} have other labels: type `kit predict --force`")
        aligned.append(predictions(other, competition))
    return aligned


def _worth(members: list[Member], aligned: list[np.ndarray], recipe: Recipe, known: Known) -> list[dict[str, Any]]:
    """For each member: weight, own score, mean correlation with the others, the blend's nested score without it."""
    facts, truth = [], known.truth
    flat = np.corrcoef([one.ravel() for one in aligned])
    for place, member in enumerate(members):
        others = [one for number, one in enumerate(aligned) if number != place]
        without = nested(recipe.method, known, others)
        facts.append({
            "run": member.name, "weight": recipe.weights[place],
            "score": truth.metric.score(truth.targets, aligned[place]),
            "correlation": float((flat[place].sum() - 1) / (len(aligned) - 1)),
            "without": truth.metric.score(truth.targets, without),
        })  # fmt: skip
    return facts
