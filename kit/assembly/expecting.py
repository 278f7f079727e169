"""For the ensemble: what the test set will say as far as OOF knows, the rank that is worth, what twins add to it."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from kit import console
from kit.competition import Competition
from kit.data.table import predictions, read_index, readable, targets
from kit.errors import counted
from kit.scoring.medals import expect
from kit.scoring.metrics import decide_for, per_image
from kit.scoring.postprocess import Postprocess
from kit.workspace import Workspace


def expect_score(
    workspace: Workspace,
    competition: Competition,
    oof: pd.DataFrame,
    post: Postprocess,
    group_of: Mapping[str, int],
    test_ids: list[str],
    said: np.ndarray,
) -> dict[str, Any]:
    """Says it, and returns it for cv.json. `said` (N, C): the predictions of `test_ids`."""
    wanted, metric = targets(oof, competition), competition.metric
    decided = post.decisions
    if len(decided) != len(oof):
        decided = decide_for(metric, wanted, predictions(oof, competition), post.params)
    file = workspace.leaderboard(competition.name)
    board = pd.read_csv(file)["score"].to_numpy(float) if file.is_file() else None
    found = expect(metric, wanted, decided, len(test_ids), oof["image_id"].map(group_of).to_numpy(), board)
    span = "{:.4f} to {:.4f}".format(*found.interval)
    console.stage("ensemble", f"to expect of {len(test_ids):,} such test images: {metric} {found.value:.4f} ({span})")
    if found.rank is not None and found.rank_interval is not None and found.chances is not None:
        ranks = "{:,.0f} to {:,.0f}".format(*found.rank_interval)
        chances = ", ".join(f"{medal} {chance:.0%}" for medal, chance in found.chances.items())
        console.stage("ensemble", f"rank {found.rank:,.0f} of {found.teams:,} ({ranks}); at least {chances}")
        console.stage("ensemble", "a test set that differs from the training set keeps none of this promise")
    twins = _twins(read_index(workspace.index(competition.name)), competition, test_ids, said, post)
    if twins:
        share = twins["count"] / len(test_ids)
        text = f"{counted(twins['count'], 'test image')} ({share:.1%}) near-identical to a training image"
        if twins["score"] is not None:
            twins["expected"] = (1 - share) * found.value + share * twins["score"]
            text += f": {metric} {twins['score']:.4f} by that one's label; with them {twins['expected']:.4f} is to be"
            text += f" expected, without {found.value:.4f}"
        console.stage("ensemble", text)
    return asdict(found) | {"twins": twins or None}


def _twins(
    index: pd.DataFrame, competition: Competition, test_ids: list[str], said: np.ndarray, post: Postprocess
) -> dict[str, Any]:
    """How many test images have a near-identical training image, and their score by its label; empty without any.

    Groups whose training images disagree count, but tell no label. The score is none where the metric is no mean over
    images.
    """
    usable = index[readable(index)]
    train, test = usable[usable["split"] == "train"], usable[usable["split"] == "test"]
    shared = test[test["group"].isin(set(train["group"]))]
    if shared.empty:
        return {}
    by_group = train.groupby("group")[competition.targets]
    answers = by_group.first().where(by_group.nunique() == 1, "")
    known = shared[["image_id", "group"]].merge(answers, left_on="group", right_index=True)
    known = known[(known[competition.targets] != "").all(axis=1)]
    row_of = {image_id: row for row, image_id in enumerate(test_ids)}
    known = known[known["image_id"].isin(row_of)]
    part = None
    if len(known):
        wanted = targets(known, competition)
        decided = decide_for(competition.metric, wanted, said[[row_of[i] for i in known["image_id"]]], post.params)
        part = per_image(competition.metric, wanted, decided)
    return {"count": len(shared), "score": None if part is None else float(part.mean())}
