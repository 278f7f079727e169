"""Does the medal meter's interval hold? A run of frozen features, on many random splits of the labelled images.

    python benchmarks/coverage.py WORKSPACE RUN [--splits 10] [--folds 5] [--held-out 0.2]

For each split: heads on the training part's folds, their OOF, postprocessing and expected score as `kit ensemble` makes
them, from that OOF alone; then the mean of the folds' predictions is scored on the held-out images' labels.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from kit.assembly.features import experiment_features
from kit.assembly.opening import open_data
from kit.assembly.predicting import trained_model
from kit.scoring.metrics import decide, measure

from kit.config import Experiment
from kit.data.folds import assign_folds
from kit.data.table import fold_groups, trainable
from kit.scoring.blend import mean_predictions
from kit.scoring.medals import expect
from kit.scoring.postprocess import compile_for
from kit.training.heads import cross_fit
from kit.workspace import Workspace


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("run")
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--held-out", type=float, default=0.2)
    given = parser.parse_args()
    workspace = Workspace(given.workspace)
    experiment = Experiment.load(workspace.run(given.run) / "experiment.yaml")
    data = open_data(experiment, workspace)
    competition, metric = data.competition, data.competition.metric
    model = trained_model(experiment, workspace, competition, 0)
    md5 = data.index["md5"].tolist()
    made = experiment_features(experiment, workspace, competition.name, model, data.pixels, md5)
    rows = np.flatnonzero(trainable(data.index))
    seen, truth = torch.from_numpy(made[:, rows]).float(), data.targets[rows]
    groups, strata = fold_groups(data.index.iloc[rows]), truth.astype(str)
    average, within = experiment.tta.average, 0
    print(f"| split | images | {metric} of OOF | expected of the held-out | on their labels | within |")
    print("|---|---|---|---|---|---|")
    for split in range(given.splits):
        out = assign_folds(strata, groups, round(1 / given.held_out), 1000 + split) == 0
        folds = assign_folds(strata[~out], groups[~out], given.folds, split)
        penalties = experiment.train.head_l2
        wanted = torch.from_numpy(truth[~out])
        fitted = cross_fit(seen[:, ~out], wanted, folds, penalties, competition.task, competition.num_outputs)

        def says(part: torch.Tensor, fold: int, heads=fitted) -> np.ndarray:
            outputs = part @ heads.weight[fold].T + heads.bias[fold]
            return mean_predictions(list(model.activate(outputs).numpy()), average, competition.task)

        oof = np.empty((len(folds), competition.num_outputs))
        for fold in range(given.folds):
            oof[folds == fold] = says(seen[:, ~out][:, folds == fold], fold)
        plain = {"clip": experiment.ensemble.clip} if metric == "log_loss" else {}
        post = compile_for(metric, truth[~out], oof, folds, plain)
        decided = post.decisions
        if len(decided) != len(oof):
            decided = decide(metric, False, oof, post.params)
        found = expect(metric, truth[~out], decided, int(out.sum()), groups[~out])
        tests = [says(seen[:, out], fold) for fold in range(given.folds)]
        together = mean_predictions(tests, experiment.ensemble.average, competition.task)
        score = measure(metric, truth[out], decide(metric, False, together, post.params))
        held = found.interval[0] <= score <= found.interval[1]
        within += held
        span = "{:.4f} to {:.4f}".format(*found.interval)
        own = measure(metric, truth[~out], decided)
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
