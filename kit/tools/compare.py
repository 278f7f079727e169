"""compare: is the difference between two runs real? Paired bootstrap on the OOF that both have."""

from dataclasses import dataclass

import numpy as np

from kit import console
from kit.data.table import predictions, targets
from kit.errors import ConfigError, KitError, counted
from kit.run.member import read_member, searched_folds
from kit.run.run import Run
from kit.scoring.bootstrap import Difference, paired_difference
from kit.scoring.truth import Truth

SURE = 0.975  # from this probability on, a run is called better
MOST_AGREE = 0.9  # of the common images must have the same label in both runs


@dataclass(frozen=True)
class CompareResult:
    first: str
    second: str
    num_images: int
    metric: str
    differences: dict[str, Difference]  # metric -> second minus first
    verdict: str


def compare(first: Run, second: Run) -> CompareResult:
    """Compare run `second` with run `first` on every metric that the task allows. Predictions are compared as they are:
    before temperature, cut points or thresholds."""
    competition, names = first.competition, (first.name, second.name)
    if competition.name != second.competition.name:
        raise ConfigError(f"run {names[0]} is for {competition.name}, {names[1]} for {second.competition.name}")
    one, other = (read_member(run).oof for run in (first, second))
    both = one.merge(other, on="image_id", suffixes=("", "_of_second"))
    if both.empty:
        raise KitError(f"runs {names[0]} and {names[1]} have no OOF image in common; predict the same folds of both")
    same = np.all([both[column] == both[f"{column}_of_second"] for column in competition.targets], axis=0)
    if same.mean() < MOST_AGREE:
        raise KitError(f"runs {names[0]} and {names[1]} disagree about the images' labels; type `kit predict --force`")
    same &= ~both["image_id"].isin(first.touched_images() | second.touched_images()).to_numpy()
    if not same.all():
        console.warn(
            f"left out: {counted((~same).sum(), 'image')} whose label one of the runs corrects (data.corrections)"
        )
        both = both[same].reset_index(drop=True)
    if searched := searched_folds(first) | searched_folds(second):
        seen = both["fold"].isin(searched_folds(first)) | both["fold_of_second"].isin(searched_folds(second))
        others, folds = both[~seen], ", ".join(map(str, sorted(searched)))
        both = others.reset_index(drop=True) if len(others) else both
        left = "is left out" if len(others) else "is all there is: the difference flatters"
        console.warn(f"fold {folds} chose one of the experiments (kit search) and {left}")
    elif len(both) < max(len(one), len(other)):
        console.warn(f"{len(both):,} images have an OOF prediction in both ({len(one):,} and {len(other):,} in each)")
    if (both["fold"] != both["fold_of_second"]).any():
        console.warn("the runs have different folds: each image's two models learned from different images")
    groups = both["image_id"].map(first.group_of).to_numpy()
    truth = Truth(competition.scoring, targets(both, competition), groups)
    probs = predictions(both, competition), both[[f"{c}_of_second" for c in competition.predictions]].to_numpy()
    differences, rows = {}, []
    for metric in competition.shown:
        decided = [metric.decide_for(truth.targets, each) for each in probs]
        found = differences[metric.name] = paired_difference(truth.by(metric), decided[0], decided[1])
        scores = [f"{metric.measure(truth.targets, each):.4f}" for each in decided]
        interval = "{:+.4f} to {:+.4f}".format(*found.interval)
        rows.append([metric.name, *scores, f"{found.value:+.4f}", interval, f"{found.probability:.3f}"])
    title = f"{names[1]} against {names[0]}, paired on {len(both):,} OOF images"
    console.table(title, ["metric", *names, "difference", "95 % interval", "P(better)"], rows)
    own = competition.scoring.name
    probability = differences[own].probability
    verdict = "not distinguishable" if probability == probability else f"{own} cannot be computed here"
    if probability >= SURE or probability <= 1 - SURE:
        verdict = f"{names[1]} is {'better' if probability >= SURE else 'worse'}"
    console.stage("compare", f"by {own}: {verdict} (covers the choice of images only, not of the seed)")
    return CompareResult(*names, len(both), own, differences, verdict)
