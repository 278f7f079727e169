"""Does the medal meter's interval hold? A run of frozen features, on many random splits of the labelled images.

    python benchmarks/coverage.py WORKSPACE RUN [--splits 10] [--folds 5] [--held-out 0.2]

For each split: heads on the training part's folds, their OOF, postprocessing and expected score as `kit ensemble` makes
them, from that OOF alone; then the mean of the folds' predictions is scored on the held-out images' labels.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from kit import Run
from kit.data.folds import assign_folds
from kit.data.table import fold_groups, trainable
from kit.run.hand_in import HandIn
from kit.run.predicting import run_features
from kit.scoring.blend import mean_predictions
from kit.scoring.medals import expect
from kit.scoring.truth import Truth
from kit.training.heads import Problem, fit_folds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("run")
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--held-out", type=float, default=0.2)
    given = parser.parse_args()
    run = Run.named(given.run, given.workspace)
    experiment, samples, competition, metric = run.experiment, run.samples, run.competition, run.competition.scoring
    hand_in, model = HandIn(competition, experiment.ensemble, run.group_of), run.fold(0).model()
    rows = np.flatnonzero(trainable(samples.index))
    seen, targets = torch.from_numpy(run_features(run, model)[:, rows]).float(), samples.targets[rows]
    groups, strata = fold_groups(samples.index.iloc[rows]), targets.astype(str)
    average, within = experiment.tta.average, 0
    print(f"| split | images | {metric.name} of OOF | expected of the held-out | on their labels | within |")
    print("|---|---|---|---|---|---|")
    for split in range(given.splits):
        out = assign_folds(strata, groups, round(1 / given.held_out), 1000 + split) == 0
        folds = assign_folds(strata[~out], groups[~out], given.folds, split)
        known = Truth(metric, targets[~out], groups[~out], folds)
        problem = Problem(seen[:, ~out], torch.from_numpy(known.targets), competition.task, competition.num_outputs)
        fitted = fit_folds(problem, folds, experiment.train.head_l2)

        def says(part: torch.Tensor, fold: int, heads=fitted) -> np.ndarray:
            outputs = part @ heads.weight[fold].T + heads.bias[fold]
            return mean_predictions(list(model.activate(outputs).numpy()), average, competition.task)

        oof = np.empty((len(folds), competition.num_outputs))
        for fold in range(given.folds):
            oof[folds == fold] = says(seen[:, ~out][:, folds == fold], fold)
        post = hand_in.postprocess(known, oof)
        found = expect(known, post.decisions, int(out.sum()))
        tests = [says(seen[:, out], fold) for fold in range(given.folds)]
        together = mean_predictions(tests, experiment.ensemble.average, competition.task)
        score = metric.measure(targets[out], metric.decide(together, labels=False, params=post.params))
        held = found.interval[0] <= score <= found.interval[1]
        within += held
        span = "{:.4f} to {:.4f}".format(*found.interval)
        own = metric.measure(known.targets, post.decisions)
        line = [
            split,
            f"{out.sum():,}",
            f"{own:.4f}",
            f"{found.value:.4f} ({span})",
            f"{score:.4f}",
            ["no", "yes"][held],
        ]
        print("| " + " | ".join(map(str, line)) + " |", flush=True)
    print(f"\nwithin the 95 % interval: {within} of {given.splits}")


if __name__ == "__main__":
    main()
