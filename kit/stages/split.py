"""split: the folds, once and for all -> `data/<competition>/folds-<K>-<seed>.csv` (image_id, fold, group)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from kit import console
from kit.artifacts import Artifact, to_make
from kit.competition import Competition
from kit.data.folds import assign_folds, too_small
from kit.data.rows import read_rows
from kit.data.table import class_counts, fold_groups, strata, stratum_name, targets, trainable
from kit.errors import counted, examples
from kit.run.run import Run
from kit.workspace import atomic_path, fingerprint, read_json

VERSION = 2
UNLIKE = 0.6  # AUC of telling train from test, by sizes and statistics
WIDTH = 60  # characters of class names that fit in a table


@dataclass(frozen=True)
class SplitResult:
    path: Path
    counts: dict[int, dict[str, int]]  # fold -> class -> images
    small: dict[str, int]  # classes with fewer independent images than folds


def split(run: Run, force: bool = False) -> SplitResult:
    """Stratified by target, grouped by near-duplicate and given group, seeded; a fold lists the images it scores."""
    competition, experiment = run.competition, run.asked
    num_folds, seed = experiment.data.num_folds, experiment.split_seed
    index = run.index[trainable(run.index)].reset_index(drop=True)
    path = run.workspace.folds(competition.name, num_folds, seed)
    labels, groups = strata(index, competition, num_folds), fold_groups(index)
    ids = index["image_id"].tolist()
    inputs = fingerprint(VERSION, num_folds, seed, ids, labels.tolist(), groups.tolist())
    made = Artifact(str(path), path.with_name(f".{path.stem}.json"), inputs, [path])
    for artifact in to_make("split", [made], force):
        before = path.read_bytes() if path.is_file() else None
        with artifact.making(), atomic_path(path) as temporary:
            folds = assign_folds(labels, groups, num_folds, seed)
            pd.DataFrame({"image_id": ids, "fold": folds, "group": groups}).to_csv(temporary, index=False)
        if before is not None and before != path.read_bytes():
            advice = "a run made with the old ones cannot go on, so give the next one another name"
            console.warn(f"{path}: the images, their labels or groups changed, and so did the folds; {advice}")
    run.refresh()
    table = read_rows(path)[["image_id", "fold"]].merge(index, on="image_id")
    counts = {int(str(fold)): class_counts(part, competition) for fold, part in table.groupby("fold")}
    _report(seed, competition, table, counts)
    small = too_small(labels, groups, num_folds)
    if small:
        few = [
            f"{stratum_name(name, competition)} {count}"
            for name, count in sorted(small.items(), key=lambda item: item[1])
        ]
        console.warn(f"classes with fewer independent images than folds: {examples(few)}")
    largest = pd.Series(groups).value_counts().iloc[0]
    if largest > len(index) / num_folds:
        console.warn(f"one group holds {largest:,} of {len(index):,} images, more than a fold: the folds are uneven")
    _doubts(run)
    return SplitResult(path, counts, small)


def _doubts(run: Run) -> None:
    """Warn of what makes a CV on these folds promise too much, or too little, for the test set."""
    stats, index = run.workspace.stats(run.competition.name), run.index
    alike = read_json(stats).get("adversarial") if stats.is_file() else None
    if alike and alike["auc"] > UNLIKE:
        apart = f"a model tells them apart with AUC {alike['auc']:.2f}; `kit explore` shows it"
        console.warn(f"train and test look different ({apart}): expect a different score on the test set than in CV")
    test = index[index["split"] == "test"]
    twins = int(test["group"].isin(set(index.loc[index["split"] == "train", "group"])).sum())
    if twins:
        kinder = "the leaderboard score will be better than CV (`kit ensemble` says by how much)"
        console.warn(f"{counted(twins, 'test image')} near-identical to a training image: {kinder}")


def _report(seed: int, competition: Competition, table: pd.DataFrame, counts: dict[int, dict[str, int]]) -> None:
    title = f"{len(counts)} folds, seed {seed}"
    sizes = table["fold"].value_counts()
    if competition.task == "number":
        values, first = targets(table, competition)[:, 0], competition.numbers[0]  # of several, the first
        means = [(fold, values[(table["fold"] == fold).to_numpy()]) for fold in counts]
        rows = [[fold, f"{np.mean(part):.3f}", f"{np.std(part):.3f}", f"{len(part):,}"] for fold, part in means]
        console.table(title, ["fold", f"mean {first}", "std", "images"], rows)
        return
    names = list(competition.classes)
    if sum(len(name) + 3 for name in names) <= WIDTH:
        rows = [[fold, *(f"{row[name]:,}" for name in names), f"{sizes[fold]:,}"] for fold, row in counts.items()]
        console.table(title, ["fold", *names, "images"], rows)
        return
    rows = []
    for fold, row in counts.items():
        ordered = sorted(row, key=row.__getitem__)
        ends = [f"{name}: {row[name]:,}" for name in (ordered[0], ordered[-1])]
        rows.append([fold, *ends, f"{sizes[fold]:,}"])
    console.table(title, ["fold", "rarest class", "most frequent", "images"], rows)
