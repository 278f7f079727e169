"""What the mean over folds is worth: a run's folds on a labelled test set, alone and together.

    python benchmarks/folds.py WORKSPACE RUN

K folds of K: every choice of K, averaged image by image; the difference is paired with one fold, on the same images.
"""

import argparse
from itertools import combinations
from pathlib import Path

import numpy as np
from kit.data.members import read_member
from kit.scoring.metrics import decide, per_image

from kit.competition import Competition
from kit.config import Experiment
from kit.data.table import labelled_test, read_index, targets
from kit.scoring.blend import mean_predictions
from kit.workspace import Workspace

DRAWS = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("run")
    given = parser.parse_args()
    workspace = Workspace(given.workspace)
    experiment = Experiment.load(workspace.run(given.run) / "experiment.yaml")
    competition = Competition.load(experiment.competition)
    index = read_index(workspace.index(competition.name))
    known = index[labelled_test(index)]
    member = read_member(workspace, competition, given.run)
    row_of = {image_id: row for row, image_id in enumerate(member.test_ids)}
    rows, truth = [row_of[image_id] for image_id in known["image_id"]], targets(known, competition)
    tests, average = [said[rows] for said in member.tests], experiment.ensemble.average
    draws = np.random.default_rng(0).multinomial(len(truth), np.full(len(truth), 1 / len(truth)), DRAWS) / len(truth)
    print(f"{len(truth):,} labelled test images, {average}")
    print("| folds | metric | score | less one fold's | 95 % interval |")
    print("|---|---|---|---|---|")
    for metric in ("accuracy", "log_loss"):
        single = None
        for size in range(1, len(tests) + 1):
            together = [mean_predictions(some, average, competition.task) for some in combinations(tests, size)]
            parts = [per_image(metric, truth, decide(metric, False, said, {})) for said in together]
            part = np.mean(parts, axis=0)
            single = part if single is None else single
            low, high = np.percentile(draws @ (part - single), [2.5, 97.5])
            line = [size, metric, f"{part.mean():.4f}", f"{(part - single).mean():+.4f}", f"{low:+.4f} to {high:+.4f}"]
            print("| " + " | ".join(map(str, line)) + " |")


if __name__ == "__main__":
    main()
