"""Out-of-fold predictions as they would be submitted: what they are compared with, and what the metric rewards."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from kit import console
from kit.competition import Competition
from kit.data.table import predictions, targets
from kit.errors import KitError, reason
from kit.metrics.log_loss import CLIP
from kit.metrics.metric import EPSILON, Metric, Params
from kit.scoring.postprocess import Postprocess, fit_postprocess
from kit.scoring.truth import Truth
from kit.settings import Ensemble

ROWS_TRIED = 50  # of a metric of one's own, before the training


@dataclass(frozen=True)
class Scored:
    """`oof`: a table of predictions; `probs` float (N, C): the same as an array; `post`: what is done to them before
    submission."""

    oof: pd.DataFrame
    truth: Truth
    probs: np.ndarray
    post: Postprocess

    def decisions(self, metric: Metric) -> np.ndarray:
        """What `metric` looks at: for the competition's own metric, what would be submitted, postprocessed."""
        if metric.name == self.truth.metric.name:
            return self.post.decisions
        return metric.decide_for(self.truth.targets, self.probs, clip_of(self.post.plain))


def try_metric(competition: Competition, known: np.ndarray) -> None:
    """Run a metric of one's own on a few known targets, as if they had been predicted. Raises `KitError`: before hours
    of training is the time."""
    metric, some = competition.scoring, known[:ROWS_TRIED]
    if competition.task in {"classes", "ordinal"}:
        predictions = np.eye(competition.outputs.count)[some]
    else:
        predictions = some.astype(float)
    try:
        value = metric.score(some, predictions)
    except Exception as error:  # whatever someone's function raises
        raise KitError(f"{competition.metric}: on {len(some)} rows: {type(error).__name__}: {reason(error)}") from None
    if not np.isfinite(value):
        raise KitError(f"{competition.metric}: {value} on {len(some)} rows that are all right")
    console.stage("train", f"{metric.name}, your code, is executed: {value:g} on {len(some)} right answers")


def clip_of(params: Params) -> Params:
    """Those of the params of the competition's metric that other metrics share."""
    return {"clip": params.get("clip", EPSILON)}


@dataclass(frozen=True)
class HandIn:
    """What decides how predictions are blended and submitted: the competition, the settings, the images' groups."""

    competition: Competition
    settings: Ensemble
    group_of: Mapping[str, int]

    def average(self, folds: bool) -> str:
        """`probs` or `logits`: how a run's folds, or else several runs, are averaged."""
        calibrated = self.competition.scoring.calibrates and self.settings.postprocess == "auto"
        auto = "logits" if folds and calibrated else "probs"
        return auto if self.settings.average == "auto" else self.settings.average

    def scored(self, oof: pd.DataFrame) -> Scored:
        """`oof`: image_id, fold, targets, predictions."""
        groups, probs = oof["image_id"].map(self.group_of).to_numpy(), predictions(oof, self.competition)
        truth = Truth(self.competition.scoring, targets(oof, self.competition), groups, oof["fold"].to_numpy())
        return Scored(oof, truth, probs, self.postprocess(truth, probs))

    def postprocess(self, truth: Truth, probs: np.ndarray) -> Postprocess:
        """What the metric rewards, fitted on OOF (N, C); with `postprocess: none`, or without OOF, what is fixed."""
        settings, competition, metric = self.settings, self.competition, truth.metric
        plain: dict[str, Any] = {}
        if metric.calibrates:
            plain["clip"] = CLIP if settings.clip is None else settings.clip
            plain |= {} if settings.clip is None else {"clips": (settings.clip,)}
        new = competition.submission.new_class
        if new is not None and new in competition.classes:
            plain["new_class"] = competition.classes.index(new)
        elif new is not None:
            plain |= {"new_class": len(competition.classes), "threshold": settings.new_class_threshold}
        if settings.postprocess == "auto" and len(probs):
            return fit_postprocess(truth, probs, plain)
        plain.pop("clips", None)
        fixed = plain if "threshold" in plain or "new_class" not in plain else {}
        if len(probs) == 0:
            return Postprocess(fixed, probs, float("nan"), plain=fixed)
        fixed = fixed | metric.rule(truth.targets)
        return Postprocess(fixed, metric.decide_for(truth.targets, probs, fixed), float("nan"), plain=fixed)
