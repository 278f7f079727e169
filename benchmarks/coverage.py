"""Do the intervals hold? A run of frozen features, on many random splits of the labelled images.

    python benchmarks/coverage.py WORKSPACE RUN [--splits 200] [--folds 5] [--held-out 0.2] [--most 5000]

For each split: heads on the training part's folds, their OOF, postprocessing, the mean of the folds' models and its
expected score as `kit ensemble` makes them, from that OOF and the held-out pictures alone; then the labels of the
held-out images are looked at. One row: how often the 80 and the 95 % interval held, each with its own 95 % binomial
interval, and the mean log loss of what would be handed in: as now, without sharpening, as the plain mean, and with
single models' calibration on the mean (the kit's old way).
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.stats import binomtest

from kit import Run
from kit.data.folds import assign_folds
from kit.data.table import fold_groups, trainable
from kit.run.hand_in import HandIn, Scored
from kit.run.mean import expected_draws, make_mean
from kit.run.predicting import run_features
from kit.scoring.blend import from_logits, mean_predictions, to_logits
from kit.scoring.bootstrap import Unseen
from kit.scoring.truth import Truth
from kit.training.heads import Problem, fit_folds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("run")
    parser.add_argument("--splits", type=int, default=200)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--held-out", type=float, default=0.2)
    parser.add_argument("--most", type=int, default=5000, help="images a split")
    given = parser.parse_args()
    run = Run.named(given.run, given.workspace)
    experiment, samples, competition, metric = run.experiment, run.samples, run.competition, run.competition.scoring
    hand_in, model = HandIn(competition, experiment.ensemble, run.group_of), run.fold(0).model()
    rows = np.flatnonzero(trainable(samples.index))
    rows = np.sort(np.random.default_rng(0).permutation(rows)[: given.most])
    seen, targets = torch.from_numpy(run_features(run, model)[:, rows]).float(), samples.given[rows]
    groups, strata = fold_groups(samples.index.iloc[rows]), targets.astype(str)
    within, losses = {80: 0, 95: 0}, []
    for split in range(given.splits):
        out = assign_folds(strata, groups, round(1 / given.held_out), 1000 + split) == 0
        folds = assign_folds(strata[~out], groups[~out], given.folds, split)
        known = Truth(metric, targets[~out], groups[~out], folds)
        problem = Problem(seen[:, ~out], torch.from_numpy(known.targets), competition.task, competition.num_outputs)
        fitted = fit_folds(problem, folds, experiment.train.head_l2)

        def says(part: torch.Tensor, fold: int, heads=fitted) -> np.ndarray:
            outputs = part @ heads.weight[fold].T + heads.bias[fold]
            return mean_predictions(list(model.activate(outputs).numpy()), experiment.tta.average, competition.task)

        oof = np.empty((len(folds), competition.num_outputs))
        for fold in range(given.folds):
            oof[folds == fold] = says(seen[:, ~out][:, folds == fold], fold)
        scored = Scored(pd.DataFrame(), known, oof, hand_in.postprocess(known, oof))
        tests, unseen = (
            [says(seen[:, out], fold) for fold in range(given.folds)],
            Unseen(np.unique(groups[out], return_inverse=True)[1]),
        )
        plain = mean_predictions(tests, "probs", competition.task)
        mean, params = make_mean(tests, plain, scored, hand_in, unseen)
        truth, draws = targets[out], expected_draws(scored, mean, unseen)
        score = metric.measure(truth, metric.decide(mean.predictions, labels=False, params=params))
        for level in within:
            low, high = np.nanpercentile(draws, [50 - level / 2, 50 + level / 2])
            within[level] += int(low <= score <= high)
        if metric.calibrates:
            soft = from_logits(to_logits(mean.predictions, competition.task) / mean.sharpness, competition.task)
            ways = ((soft, params), (plain, {"clip": params["clip"]}), (plain, scored.post.params))
            losses.append(
                [score, *(metric.measure(truth, metric.decide(one, False, how)) for one, how in ways), mean.sharpness]
            )
    cells = [given.run, f"{len(rows):,}", str(given.splits), metric.name]
    for count in within.values():
        low, high = binomtest(count, given.splits).proportion_ci(method="wilson")
        cells.append(f"{count / given.splits:.3f} ({low:.3f} to {high:.3f})")
    cells += [f"{value:.4f}" for value in np.mean(losses, axis=0)] if losses else ["", "", "", "", ""]
    print(
        "| run | images | splits | metric | 80 % | 95 % | handed in | r = 1 | plain mean | calibrated after | mean r |"
    )
    print("|" + "---|" * 11 + "\n| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
