"""The test images' predictions as they are handed in: of each member's models one, and of all models their mean."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from kit import console
from kit.data.table import fold_groups
from kit.metrics.metric import EPSILON, Params
from kit.run.blending import BlendedRuns
from kit.run.hand_in import HandIn, Scored
from kit.run.member import Member
from kit.scoring.blend import mean_predictions
from kit.scoring.bootstrap import Unseen, expected_scores
from kit.scoring.sharpness import FEWEST, Evidence, Mean, centred, mean_of_models
from kit.settings import Ensemble


@dataclass(frozen=True)
class HandedIn:
    """`table`: image_id and predictions, a row per test image; `plain`: their plain mean, as OOF is; `params`: for
    `Metric.decide`. `mean`: how `num_models` models became one; `unseen`: the test set."""

    table: pd.DataFrame
    plain: pd.DataFrame
    params: Params
    mean: Mean
    num_models: int
    average: str  # probs or logits
    unseen: Unseen

    def facts(self) -> dict[str, Any]:
        """For the passport."""
        facts = {"models": self.num_models, "average": self.average, "sharpness": self.mean.sharpness}
        return facts | {"why": self.mean.why or None}


def hand_in_predictions(members: list[Member], blended: BlendedRuns, hand_in: HandIn) -> HandedIn:
    """The members' models are blended fold by fold, then averaged; where nothing depends on their order, each member's
    mean is blended."""
    competition = hand_in.competition
    models, unseen = _models(members, blended, hand_in), _unseen(members[0])
    plain = blended.recipe.apply(_means(members, hand_in), competition.task)
    mean, params = make_mean(models, plain, blended.scored, hand_in, unseen)
    ids = pd.DataFrame({"image_id": members[0].test_ids})
    table, alike = (ids.join(pd.DataFrame(one, columns=competition.predictions)) for one in (mean.predictions, plain))
    return HandedIn(table, alike, params, mean, len(models), hand_in.average(folds=True), unseen)


def make_mean(
    models: list[np.ndarray], plain: np.ndarray, scored: Scored, hand_in: HandIn, unseen: Unseen
) -> tuple[Mean, Params]:
    """Several models' predictions (N, C) of the test images as one, and the params for `Metric.decide`. For log loss
    each model is calibrated by what OOF, which is of single models, asks for; then their logits are averaged and
    sharpened. For other metrics the mean is `plain`, and what was fitted moves from the single models' scale to its."""
    metric, task, settings = hand_in.competition.scoring, hand_in.competition.task, hand_in.settings
    params = dict(scored.post.params)
    if not metric.calibrates:
        if scored.post.kept and len(models) > 1 and unseen.num_images >= FEWEST:
            params = metric.moved(params, np.stack(models), plain)
        return Mean(plain), params
    fitted: Params = {key: params.pop(key) for key in ("temperature", "bias") if key in params}
    models = [metric.decide(one, task == "labels", fitted) for one in models] if fitted else models
    kept = _reason_to_keep(len(models), settings) if unseen.num_images else "no test images"
    if kept:
        return Mean(mean_predictions(models, hand_in.average(folds=True), task), why=kept), params
    oof = metric.decide(scored.probs, task == "labels", fitted)
    stack = np.stack([centred(one, task) for one in models])
    return mean_of_models(Evidence(scored.truth, centred(oof, task), stack, task, unseen)), params


def expected_draws(scored: Scored, mean: Mean, unseen: Unseen) -> np.ndarray:
    """Draws of the hand-in's score. For log loss of the mean, from the test images; else of single models, from OOF."""
    truth, post = scored.truth, scored.post
    if not len(mean.losses):
        return expected_scores(truth, post.decisions, unseen)
    labels, metric = truth.targets.ndim == 2, truth.metric
    clipped = metric.measure(truth.targets, metric.decide(scored.probs, labels, post.params))
    whole = metric.measure(truth.targets, metric.decide(scored.probs, labels, post.params | {"clip": EPSILON}))
    return mean.losses + clipped - whole


def show_mean(handed: HandedIn) -> None:
    """Say how several models of a log loss became one; for other metrics it is their plain mean."""
    mean = handed.mean
    if handed.num_models > 1 and (mean.why or mean.sharpness > 1):
        how = {"logits": "logits", "probs": "predictions"}[handed.average]
        why = f" (not sharpened: {mean.why})" if mean.why else f", times {mean.sharpness:.3f}"
        console.stage("ensemble", f"mean of the {how} of {handed.num_models} models{why}")


def _reason_to_keep(num_models: int, settings: Ensemble) -> str:
    """Why a mean is not sharpened; empty where it may be."""
    if num_models == 1:
        return "one model"
    if settings.average == "probs":
        return "ensemble.average: probs"
    return "ensemble.postprocess: none" if settings.postprocess == "none" else ""


def _models(members: list[Member], blended: BlendedRuns, hand_in: HandIn) -> list[np.ndarray]:
    """(N, C) of each model: the members blended fold by fold; where they do not have as many, of their means."""
    parts: Sequence[Sequence[np.ndarray]] = [member.tests for member in members]
    if len({len(tests) for tests in parts}) > 1:
        parts = [[one] for one in _means(members, hand_in)]
    return [blended.recipe.apply(one, hand_in.competition.task) for one in zip(*parts, strict=True)]


def _means(members: list[Member], hand_in: HandIn) -> list[np.ndarray]:
    average, task = hand_in.average(folds=True), hand_in.competition.task
    return [mean_predictions(member.tests, average, task) for member in members]


def _unseen(member: Member) -> Unseen:
    index = member.run.index
    test = index[index["split"] == "test"].reset_index(drop=True)
    group_of = dict(zip(test["image_id"], fold_groups(test), strict=True))
    return Unseen(np.unique([group_of.get(name, -1) for name in member.test_ids], return_inverse=True)[1])
