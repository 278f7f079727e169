"""split: the folds, once and for all -> `data/<competition>/folds-<K>-<seed>.csv` (image_id, fold, group)."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from kit import console
from kit.competition import Competition
from kit.config import Experiment
from kit.data.folds import assign_folds
from kit.data.table import TARGET, read_index, read_rows, trainable
from kit.workspace import Workspace, atomic_path, fingerprint, is_done, mark_done

VERSION = 1


@dataclass(frozen=True)
class SplitResult:
    path: Path
    counts: dict[int, dict[str, int]]  # fold -> class -> images


def run(experiment: Experiment, workspace: Workspace, force: bool = False) -> SplitResult:
    """Stratified by class, grouped by near-duplicate, seeded; a fold lists the images that it scores."""
    competition = Competition.load(experiment.competition)
    num_folds = experiment.data.num_folds
    index = read_index(workspace.index(competition.name))
    index = index[trainable(index)]
    path = workspace.folds(competition.name, num_folds, experiment.seed)
    stamp = path.with_name(f".{path.stem}.json")
    rows = index[["image_id", TARGET, "group"]].to_numpy().tolist()
    inputs = fingerprint(VERSION, num_folds, experiment.seed, rows)
    if is_done(stamp, inputs, [path]) and not force:
        console.stage("split", f"{path} is up to date")
    else:
        folds = assign_folds(index[TARGET].to_numpy(), index["group"].to_numpy(), num_folds, experiment.seed)
        with atomic_path(path) as temporary:
            index[["image_id", "group"]].assign(fold=folds)[["image_id", "fold", "group"]].to_csv(
                temporary, index=False
            )
        mark_done(stamp, inputs)
    table = read_rows(path).merge(index[["image_id", TARGET]], on="image_id")
    counts = pd.crosstab(table["fold"], table[TARGET])
    names = [name for name in competition.classes if name in counts]
    console.table(
        f"{num_folds} folds, seed {experiment.seed}",
        ["fold", *names, "images"],
        [[fold, *(f"{row[name]:,}" for name in names), f"{row.sum():,}"] for fold, row in counts.iterrows()],
    )
    return SplitResult(path, {int(str(f)): {str(k): int(v) for k, v in row.items()} for f, row in counts.iterrows()})
