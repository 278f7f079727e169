"""What is lost by averaging, and given back: a run's hand-in under log loss, on test labels that are known.

    python benchmarks/averaging.py WORKSPACE RUN [--solution FILE]

Needs a run whose folds are predicted. The test labels are those of the index (FashionMNIST's), or of FILE (columns id
and label: the demo's solution.csv). Each row: the log loss of one way to make the mean, and its difference to the
kit's, with the paired 95 % interval over the test images. The labels choose nothing.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from kit import Run
from kit.data.table import TARGET, labelled_test
from kit.metrics import LOG_LOSS
from kit.run.hand_in import HandIn
from kit.run.mean import expected_draws, make_mean
from kit.run.member import read_member
from kit.scoring.blend import from_logits, mean_predictions, to_logits
from kit.scoring.bootstrap import Unseen, paired_difference
from kit.scoring.truth import Truth
from kit.settings import Ensemble


class UnderLogLoss:
    """A competition as if it were scored by log loss."""

    def __init__(self, competition) -> None:
        self._competition, self.scoring = competition, LOG_LOSS

    def __getattr__(self, name: str):
        return getattr(self._competition, name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("run")
    parser.add_argument("--solution", type=Path)
    given = parser.parse_args()
    run = Run.named(given.run, given.workspace)
    member, task = read_member(run), run.competition.task
    hand_in = HandIn(UnderLogLoss(run.competition), Ensemble(), run.group_of)
    if given.solution is not None:
        known = pd.read_csv(given.solution, dtype=str).rename(columns={"id": "image_id", "label": TARGET})
    else:
        known = run.index[labelled_test(run.index)]
    label_of = known.set_index("image_id")[TARGET]
    truth = Truth(LOG_LOSS, np.array([run.competition.classes.index(label_of[name]) for name in member.test_ids]))

    scored, unseen = hand_in.scored(member.oof), Unseen.singly(len(member.test_ids))
    plain = mean_predictions(member.tests, "probs", task)
    mean, params = make_mean(member.tests, plain, scored, hand_in, unseen)
    soft = from_logits(to_logits(mean.predictions, task) / mean.sharpness, task)
    clip = {"clip": params["clip"]}
    ways = {
        f"each calibrated, logits averaged, times r = {mean.sharpness:.3f} {mean.why}": (mean.predictions, clip),
        "the same with r = 1": (soft, clip),
        "the plain mean, nothing fitted": (plain, {}),
        "the mean, calibrated as single models are": (plain, scored.post.params),
    }
    decided = {name: LOG_LOSS.decide(one, False, how) for name, (one, how) in ways.items()}
    kits = next(iter(decided.values()))
    single = LOG_LOSS.measure(scored.truth.targets, scored.post.decisions)
    low, value, high = np.percentile(expected_draws(scored, mean, unseen), [2.5, 50, 97.5])
    print(f"{given.run}: {len(member.tests)} models, {len(member.test_ids):,} test images; single models {single:.4f}")
    print(f"expected of the hand-in: {value:.4f} ({low:.4f} to {high:.4f})\n")
    print("| way | log loss | more than the kit's |\n|---|---|---|")
    for name, one in decided.items():
        gain = paired_difference(truth, kits, one)
        more = "" if one is kits else "{:+.4f} ({:+.4f} to {:+.4f})".format(gain.value, *gain.interval)
        print(f"| {name} | {LOG_LOSS.measure(truth.targets, one):.4f} | {more} |")


if __name__ == "__main__":
    main()
