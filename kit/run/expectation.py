"""The score to expect on the test set, judging by OOF, the rank it is worth, and what near-duplicates add to it."""

from dataclasses import asdict
from typing import Any

import pandas as pd

from kit import console
from kit.competition import Competition
from kit.data.table import readable, targets
from kit.errors import counted
from kit.metrics.metric import Params
from kit.run.hand_in import Scored
from kit.run.mean import HandedIn, expected_draws
from kit.run.run import Run
from kit.scoring.medals import Expectation, expect


def expect_score(run: Run, scored: Scored, handed: HandedIn) -> dict[str, Any]:
    """Print it, and return it for cv.json. `scored`: the submission's OOF. For log loss it is the score of the mean of
    the models that is handed in; for other metrics that of single models, which a mean usually betters."""
    competition, metric = run.competition, scored.truth.metric
    file = run.workspace.leaderboard(competition.name)
    board = pd.read_csv(file)["score"].to_numpy(float) if file.is_file() else None
    draws, test = expected_draws(scored, handed.mean, handed.unseen), handed.table
    of = f"the mean of {handed.num_models} models" if len(handed.mean.losses) else "single models"
    of = of if handed.num_models > 1 else "one model"
    found = expect(metric, draws, board)
    span = "{:.4f} to {:.4f}".format(*found.interval)
    text = f"to expect on {len(test):,} such test images: {metric.name} {found.value:.4f} ({span})"
    more = "; a mean is usually better" if of == "single models" else ""
    console.stage("ensemble", text if of == "one model" else f"{text}, of {of}{more}")
    if handed.mean.shifted:
        console.warn("the models are not as sure of the test images as of their folds' own: these are not such images")
    _show_rank(found)
    twins = _twins(run.index, competition, test, handed.params)
    if twins:
        share = twins["count"] / len(test)
        text = f"{counted(twins['count'], 'test image')} ({share:.1%}) near-identical to a training image"
        if twins["score"] is not None:
            twins["expected"] = (1 - share) * found.value + share * twins["score"]
            text += f": {metric.name} {twins['score']:.4f} by the training label; expect {twins['expected']:.4f} with"
            text += f" them, {found.value:.4f} without"
        console.stage("ensemble", text)
    return asdict(found) | {"of": of, "twins": twins or None}


def _show_rank(found: Expectation) -> None:
    if found.rank is not None and found.rank_interval is not None and found.chances is not None:
        ranks = "{:,.0f} to {:,.0f}".format(*found.rank_interval)
        chances = ", ".join(f"{medal} {chance:.0%}" for medal, chance in found.chances.items())
        console.stage(
            "ensemble", f"rank {found.rank:,.0f} of {found.teams:,} ({ranks}); at least {chances} (MLE-bench's places)"
        )
        console.stage("ensemble", "none of this holds for a test set that differs from the training set")


def _twins(index: pd.DataFrame, competition: Competition, test: pd.DataFrame, params: Params) -> dict[str, Any]:
    """How many test images have a near-identical training image, and their score by its label; empty if there are none.
    Groups whose training images disagree are counted, but give no label. The score is `None` where the metric is not a
    mean over images."""
    usable = index[readable(index)]
    train, unlabelled = usable[usable["split"] == "train"], usable[usable["split"] == "test"]
    shared = unlabelled[unlabelled["group"].isin(set(train["group"]))]
    if shared.empty:
        return {}
    by_group = train.groupby("group")[competition.targets]
    answers = by_group.first().where(by_group.nunique() == 1, "")
    known = shared[["image_id", "group"]].merge(answers, left_on="group", right_index=True)
    known = known[(known[competition.targets] != "").all(axis=1)].merge(test, on="image_id")
    metric, part = competition.scoring, None
    if len(known) and metric.per_image is not None:
        wanted = targets(known, competition)
        decided = metric.decide_for(wanted, known[competition.predictions].to_numpy(float), params)
        part = metric.per_image(wanted, decided)
    return {"count": len(shared), "score": None if part is None else float(part.mean())}
