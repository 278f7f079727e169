"""Do the intervals hold? A run on many random splits of its labelled images.

    python benchmarks/coverage.py WORKSPACE RUN [--splits 200] [--most 5000] [--held-out 0.2] [--shifted WORKSPACE]

For each split: the folds' models of the training part, their OOF, postprocessing, the mean of the models and its
expected score as `kit ensemble` makes them, from that OOF and the held-out pictures alone; then the labels of the
held-out images are looked at. A run of frozen features has its heads fitted anew on each split; any other is trained
anew, from the workspace's images laid out in class folders, in a workspace that is thrown away.

A row for each metric, the competition's and log loss: how often the 80 and the 95 % interval held, each with its own
95 % binomial interval; the mean of what was expected and of what came; and for log loss the mean score without
sharpening, as the plain mean, and with single models' calibration on the mean (the kit's old way). `--shifted`: the
held-out pictures are those of the run of the same name in another workspace, where the same images look otherwise.
"""

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml
from averaging import UnderLogLoss
from scipy.stats import binomtest

from kit import Run
from kit.competition import Competition
from kit.data.folds import assign_folds
from kit.data.table import TARGET, fold_groups, trainable
from kit.metrics import Metric
from kit.pipeline import run_pipeline
from kit.run.hand_in import HandIn, Scored
from kit.run.mean import expected_draws, make_mean
from kit.run.member import read_member
from kit.run.predicting import has_frozen_network, run_features
from kit.schema import to_mapping
from kit.scoring.blend import from_logits, mean_predictions, to_logits
from kit.scoring.bootstrap import Unseen
from kit.scoring.truth import Truth
from kit.sections import Labels
from kit.training.heads import Problem, fit_folds

LEVELS, COMPONENTS = (80, 95), 64


@dataclass(frozen=True)
class Split:
    """`targets`, `groups`, `folds` (N,) and `oof` (N, C) of the training part; `tests` (M, C) of each model; `truth`
    and `unseen` of the held-out images."""

    targets: np.ndarray
    groups: np.ndarray
    folds: np.ndarray
    oof: np.ndarray
    tests: list[np.ndarray]
    truth: np.ndarray
    unseen: Unseen


@dataclass(frozen=True)
class Images:
    """The run's labelled images (at most so many, drawn once) and how they are held out."""

    run: Run
    rows: np.ndarray
    held_out: float
    num_splits: int

    def parts(self) -> Iterator[np.ndarray]:
        """Which of the rows are held out: whole groups, the classes evenly."""
        table = self.run.samples.index.iloc[self.rows]
        strata = self.run.samples.given[self.rows].astype(str)
        parts = round(1 / self.held_out)  # not always the first: it is given the largest groups
        for number in range(self.num_splits):
            yield assign_folds(strata, fold_groups(table), parts, 1000 + number) == number % parts


def frozen(images: Images, shifted: Path | None) -> Iterator[Split]:
    """Of a run of frozen features: heads on each split's folds."""
    run, rows = images.run, images.rows
    model, experiment, competition = run.fold(0).model(), run.experiment, run.competition
    index, targets = run.samples.index.iloc[rows], run.samples.given[rows]
    seen = torch.from_numpy(run_features(run, model)[:, rows]).float()
    unlike = seen
    if shifted is not None:
        other = Run.named(run.name, shifted)
        place = pd.Series(range(len(other.samples.index)), other.samples.index["image_id"])
        unlike = torch.from_numpy(run_features(other, model)[:, place[index["image_id"]].to_numpy()]).float()
    seen, unlike = projected(seen, unlike)
    groups = fold_groups(index)

    def says(part: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> np.ndarray:
        outputs = part @ weight.T + bias
        return mean_predictions(list(model.activate(outputs).numpy()), experiment.tta.average, competition.task)

    for number, out in enumerate(images.parts()):
        folds = assign_folds(targets[~out].astype(str), groups[~out], experiment.data.num_folds, number)
        known = seen[:, ~out]
        problem = Problem(known, torch.from_numpy(targets[~out]), competition.outputs)
        heads = fit_folds(problem, folds, experiment.train.head_l2)
        oof = np.empty((len(folds), competition.outputs.count))
        for fold in range(experiment.data.num_folds):
            oof[folds == fold] = says(known[:, folds == fold], heads.weight[fold], heads.bias[fold])
        tests = [says(unlike[:, out], *head) for head in zip(heads.weight, heads.bias, strict=True)]
        unseen = Unseen(np.unique(groups[out], return_inverse=True)[1])
        yield Split(targets[~out], groups[~out], folds, oof, tests, targets[out], unseen)


def projected(seen: torch.Tensor, unlike: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Features (V, N, D) of both sets by the first's principal components: a tenth of the time, without labels."""
    centre = seen.mean(dim=(0, 1))
    _, _, axes = torch.pca_lowrank((seen - centre).flatten(0, 1), COMPONENTS, center=False)
    return (seen - centre) @ axes, (unlike - centre) @ axes


def trained(images: Images) -> Iterator[Split]:
    """Of a run of networks: trained anew on each split."""
    run, classes = images.run, images.run.competition.classes
    index = run.samples.index.iloc[images.rows].reset_index(drop=True)
    raw = run.workspace.raw(run.competition.name)
    for out in images.parts():
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            for row, held in zip(index.itertuples(), out, strict=True):
                file = folder / "from" / ("test" if held else f"train/{row.target_label}") / f"{row.Index}.jpg"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.symlink_to((raw / row.path).resolve())
            sample = pd.DataFrame({"id": [f"{at}.jpg" for at in np.flatnonzero(out)], "label": classes[0]})
            sample.to_csv(folder / "from" / "sample_submission.csv", index=False)
            _write_competition(run.competition, folder / "split.yaml")
            experiment = replace(run.asked, competition=str(folder / "split.yaml"), name="split")
            run_pipeline(experiment, folder / "workspace", folder / "from")
            anew = Run.named("split", folder / "workspace")
            member = read_member(anew)
            hand_in = HandIn(anew.competition, anew.experiment.ensemble, anew.group_of)
            scored = hand_in.scored(member.oof)
            label_of = index[TARGET].astype(str)
            truth = np.array([classes.index(label_of[int(Path(name).stem)]) for name in member.test_ids])
            known = scored.truth
            unseen = Unseen.singly(len(truth))
            yield Split(known.targets, known.codes, known.folds, scored.probs, member.tests, truth, unseen)


def _write_competition(competition: Competition, file: Path) -> None:
    own = to_mapping(competition)
    labels = to_mapping(replace(Labels(), layout="folders", classes=competition.classes))
    files = {"train": ["train"], "test": ["test"], "sample_submission": ["sample_submission.csv"]}
    submission = {"format": "label", "id_column": "id", "column": "label"}
    own |= {"name": "split", "files": files, "labels": labels, "submission": submission}
    file.write_text(yaml.safe_dump(own), "utf-8")


class Tally:
    """What one metric's intervals and hand-ins came to."""

    def __init__(self, metric: Metric, hand_in: HandIn) -> None:
        self.metric, self.hand_in = metric, hand_in
        self.within, self.losses, self.pairs = dict.fromkeys(LEVELS, 0), [], []

    def add(self, split: Split) -> None:
        metric, hand_in, task = self.metric, self.hand_in, self.hand_in.competition.task
        known = Truth(metric, split.targets, split.groups, split.folds)
        scored = Scored(pd.DataFrame(), known, split.oof, hand_in.postprocess(known, split.oof))
        plain = mean_predictions(split.tests, "probs", task)
        mean, params = make_mean(split.tests, plain, scored, hand_in, split.unseen)
        draws = expected_draws(scored, mean, split.unseen)
        score = metric.measure(split.truth, metric.decide(mean.predictions, labels=False, params=params))
        self.pairs.append([float(np.nanmedian(draws)), score])
        for level in LEVELS:
            low, high = np.nanpercentile(draws, [50 - level / 2, 50 + level / 2])
            self.within[level] += int(low <= score <= high)
        if metric.calibrates:
            soft = from_logits(to_logits(mean.predictions, task) / mean.sharpness, task)
            ways = ((soft, params), (plain, {"clip": params["clip"]}), (plain, scored.post.params))
            others = [metric.measure(split.truth, metric.decide(one, False, how)) for one, how in ways]
            self.losses.append([*others, mean.sharpness])

    def row(self, name: str, num_images: int, num_splits: int) -> str:
        cells = [name, f"{num_images:,}", str(num_splits), self.metric.name]
        for count in self.within.values():
            low, high = binomtest(count, num_splits).proportion_ci(method="wilson")
            cells.append(f"{count / num_splits:.3f} ({low:.3f} to {high:.3f})")
        cells += [f"{value:.4f}" for value in np.mean(self.pairs, axis=0)]
        cells += [f"{value:.4f}" for value in np.mean(self.losses, axis=0)] if self.losses else [""] * 4
        return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("run")
    parser.add_argument("--splits", type=int, default=200)
    parser.add_argument("--held-out", type=float, default=0.2)
    parser.add_argument("--most", type=int, default=5000, help="images a split")
    parser.add_argument("--shifted", type=Path)
    given = parser.parse_args()
    run = Run.named(given.run, given.workspace)
    rows = np.flatnonzero(trainable(run.samples.index))
    rows = np.sort(np.random.default_rng(0).permutation(rows)[: given.most])
    images = Images(run, rows, given.held_out, given.splits)
    hand_ins = {one.scoring.name: one for one in (run.competition, UnderLogLoss(run.competition))}
    settings = run.experiment.ensemble
    tallies = [Tally(one.scoring, HandIn(one, settings, run.group_of)) for one in hand_ins.values()]
    for split in frozen(images, given.shifted) if has_frozen_network(run) else trained(images):
        for tally in tallies:
            tally.add(split)
    ways = "expected | handed in | r = 1 | plain mean | calibrated after | mean r"
    print(f"| run | images | splits | metric | 80 % | 95 % | {ways} |\n" + "|---" * 12 + "|")
    for tally in tallies:
        print(tally.row(given.run, len(rows), given.splits))


if __name__ == "__main__":
    main()
