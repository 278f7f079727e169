"""Do cut-points and thresholds that were moved to a mean's scale hold? Where several seeds predicted the same folds.

    python benchmarks/seeds.py WORKSPACE RUN RUN [RUN ...]

`kit run --seed 0..4` makes such runs. The mean of their out-of-fold predictions is a mean of models that never saw the
image, and its labels are known. A row each for the parameters that single models' OOF asks for, as they are; moved to
the mean's scale by `kit ensemble`'s own rule, which looks at no label; and those that the mean's labels choose, cross-
fitted. The difference is to the second row's, with its paired 95 % interval over the images.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from kit import Run
from kit.data.table import predictions
from kit.run.hand_in import HandIn
from kit.run.member import read_member
from kit.scoring.bootstrap import paired_difference


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("runs", nargs="+")
    given = parser.parse_args()
    runs = [Run.named(name, given.workspace) for name in given.runs]
    first = runs[0]
    hand_in, metric = HandIn(first.competition, first.experiment.ensemble, first.group_of), first.competition.scoring
    oofs = [read_member(run).oof.sort_values("image_id").reset_index(drop=True) for run in runs]
    models = np.stack([predictions(oof, first.competition) for oof in oofs])
    mean = models.mean(axis=0)
    singles = hand_in.scored(pd.concat(oofs, ignore_index=True))  # each model's own scale
    chosen = hand_in.postprocess(hand_in.scored(oofs[0]).truth, mean)
    truth, params, labels = hand_in.scored(oofs[0]).truth, singles.post.params, first.competition.task == "labels"
    moved = metric.moved(params, models, mean)
    ways = {
        "of single models, as they are": metric.decide(mean, labels, params),
        "moved to the mean's scale": metric.decide(mean, labels, moved),
        "none": metric.decide_for(truth.targets, mean, chosen.plain),
        "what the mean's labels choose, cross-fitted": chosen.decisions,
    }
    print(f"{len(runs)} seeds, {len(mean):,} images, one model: {metric.name} {singles.post.before:.4f} plain")
    print(f"| parameters | {metric.name} | to the moved ones |\n|---|---|---|")
    ours = ways["moved to the mean's scale"]
    for name, decided in ways.items():
        gain = paired_difference(truth, ours, decided)
        span, score = "{:+.4f} to {:+.4f}".format(*gain.interval), metric.measure(truth.targets, decided)
        print(f"| {name} | {score:.4f} | {gain.value:+.4f} ({span}) |")


if __name__ == "__main__":
    main()
