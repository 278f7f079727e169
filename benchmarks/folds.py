"""What the mean over folds is worth: a run's folds on a labelled test set, alone and together.

    python benchmarks/folds.py WORKSPACE RUN

K folds of K: every choice of K, averaged image by image; the difference is paired with one fold, on the same images.
"""

import argparse
from itertools import combinations
from pathlib import Path

import numpy as np

from kit import Run
from kit.data.table import labelled_test, targets
from kit.metrics import find_metric
from kit.run.member import read_member
from kit.scoring.blend import mean_predictions

DRAWS = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("run")
    given = parser.parse_args()
    run = Run.named(given.run, given.workspace)
    competition, member = run.competition, read_member(run)
    known = run.index[labelled_test(run.index)]
    row_of = {image_id: row for row, image_id in enumerate(member.test_ids)}
    rows, truth = [row_of[image_id] for image_id in known["image_id"]], targets(known, competition)
    tests, average = [said[rows] for said in member.tests], run.experiment.ensemble.average
    draws = np.random.default_rng(0).multinomial(len(truth), np.full(len(truth), 1 / len(truth)), DRAWS) / len(truth)
    print(f"{len(truth):,} labelled test images, {average}")
    print("| folds | metric | score | less one fold's | 95 % interval |")
    print("|---|---|---|---|---|")
    for name in ("accuracy", "log_loss"):
        metric, single = find_metric(name), None
        for size in range(1, len(tests) + 1):
            together = [mean_predictions(some, average, competition.task) for some in combinations(tests, size)]
            parts = [metric.per_image(truth, metric.decide(said, labels=False)) for said in together]
            part = np.mean(parts, axis=0)
            single = part if single is None else single
            low, high = np.percentile(draws @ (part - single), [2.5, 97.5])
            line = [size, name, f"{part.mean():.4f}", f"{(part - single).mean():+.4f}", f"{low:+.4f} to {high:+.4f}"]
            print("| " + " | ".join(map(str, line)) + " |")


if __name__ == "__main__":
    main()
