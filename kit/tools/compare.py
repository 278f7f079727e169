"""compare: is the difference between two runs real? Paired bootstrap on the OOF that both have."""

from dataclasses import dataclass

import numpy as np

from kit import console
from kit.competition import Competition
from kit.config import Experiment
from kit.data.members import read_member
from kit.data.table import predictions, read_index, targets, training_groups
from kit.errors import ConfigError, KitError
from kit.run_folder import require_run
from kit.scoring.bootstrap import Difference, paired_difference
from kit.scoring.metrics import decide_for, measure
from kit.tasks import shown_metrics
from kit.workspace import Workspace

SURE = 0.975  # this probable, a run is called the better one
MOST_AGREE = 0.9  # of the common images must have the same label in both runs


@dataclass(frozen=True)
class CompareResult:
    first: str
    second: str
    num_images: int
    metric: str
    differences: dict[str, Difference]  # metric -> second minus first
    verdict: str


def run(workspace: Workspace, first: str, second: str) -> CompareResult:
    """Hold run `second` against run `first`, on every metric that the task allows.

    It compares the predictions as they are: before temperature, cut-points or thresholds.
    """
    competitions = [_competition(workspace, name) for name in (first, second)]
    if competitions[0].name != competitions[1].name:
        raise ConfigError(f"run {first} is of {competitions[0].name}, {second} of {competitions[1].name}")
    competition = competitions[0]
    one, other = (read_member(workspace, competition, name).oof for name in (first, second))
    both = one.merge(other, on="image_id", suffixes=("", "_of_second"))
    if both.empty:
        raise KitError(f"runs {first} and {second} have no OOF image in common; predict the same folds of both")
    same = np.all([both[column] == both[f"{column}_of_second"] for column in competition.targets], axis=0)
    if same.mean() < MOST_AGREE:
        raise KitError(f"runs {first} and {second} disagree about the images' classes; type `kit predict --force`")
    if not same.all():
        console.warn(f"{(~same).sum():,} images have another label in the other run (data.corrections); left out")
        both = both[same].reset_index(drop=True)
    if len(both) < max(len(one), len(other)):
        console.warn(f"{len(both):,} images have an OOF prediction in both ({len(one):,} and {len(other):,} in each)")
    if (both["fold"] != both["fold_of_second"]).any():
        console.warn("the runs have other folds: each image's two models learned from different images")
    wanted = targets(both, competition)
    said = predictions(both, competition), both[[f"{c}_of_second" for c in competition.predictions]].to_numpy()
    groups = both["image_id"].map(training_groups(read_index(workspace.index(competition.name)))).to_numpy()
    differences, rows = {}, []
    for metric in shown_metrics(competition.task, competition.metric, len(competition.classes)):
        decided = [decide_for(metric, wanted, each) for each in said]
        found = differences[metric] = paired_difference(metric, wanted, decided[0], decided[1], groups)
        scores = [f"{measure(metric, wanted, each):.4f}" for each in decided]
        interval = "{:+.4f} to {:+.4f}".format(*found.interval)
        rows.append([metric, *scores, f"{found.value:+.4f}", interval, f"{found.probability:.3f}"])
    title = f"{second} against {first}, paired on {len(both):,} OOF images"
    console.table(title, ["metric", first, second, "difference", "95 % interval", "P(better)"], rows)
    probability = differences[competition.metric].probability
    verdict = "not distinguishable" if probability == probability else f"{competition.metric} cannot be computed here"
    if probability >= SURE or probability <= 1 - SURE:
        verdict = f"{second} is {'better' if probability >= SURE else 'worse'}"
    console.stage("compare", f"by {competition.metric}: {verdict} (the images' luck only; a seed's takes another seed)")
    return CompareResult(first, second, len(both), competition.metric, differences, verdict)


def _competition(workspace: Workspace, name: str) -> Competition:
    return Competition.load(Experiment.load(require_run(workspace, name)).competition)
