"""Folds: stratified by class, near-identical pictures together, seeded."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from kit.data.rows import read_rows
from kit.data.table import fold_groups, trainable
from kit.errors import KitError, counted, examples


def too_small(labels: np.ndarray, groups: np.ndarray, num_folds: int) -> dict[str, int]:
    """Strata with fewer independent images than folds -> how many they have: some folds get none of them."""
    pairs = pd.DataFrame({"label": labels, "group": groups}).drop_duplicates()
    counts = pairs["label"].value_counts()
    return {str(label): int(count) for label, count in counts.items() if count < num_folds}


def assign_folds(labels: np.ndarray, groups: np.ndarray, num_folds: int, seed: int) -> np.ndarray:
    """int64 (N,): each image's fold; strata too small to be spread over all folds are spread together. Raises
    `KitError` where there are fewer groups than folds."""
    from sklearn.model_selection import StratifiedGroupKFold

    if (count := len(np.unique(groups))) < num_folds:
        few = f"there are {count} independent groups of images, too few for {num_folds} folds"
        raise KitError(
            f"{few}; lower data.num_folds, or correct the groups (`labels.group_column`, `labels.group_pattern`)"
        )
    names, strata = np.unique(labels.astype(str), return_inverse=True)
    strata = np.where(np.isin(names, list(too_small(labels, groups, num_folds)))[strata], -1, strata)
    folds = np.empty(len(labels), dtype=np.int64)
    splitter = StratifiedGroupKFold(num_folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for fold, (_, members) in enumerate(splitter.split(strata, strata, groups)):
            folds[members] = fold
    return folds


def read_folds(path: Path, index: pd.DataFrame, num_folds: int) -> np.ndarray:
    """int64 (N,) per index row: its fold, or -1 for rows that no fold scores. Refuses (`KitError`) another index's
    folds."""
    if not path.is_file():
        raise KitError(f"{path}: no such file; type `kit split` first")
    table = read_rows(path)
    usable = trainable(index)
    expected = index.loc[usable, ["image_id"]].assign(group=fold_groups(index[usable]))
    joined = expected.merge(table[["image_id", "fold"]], on="image_id", how="outer", indicator=True)
    strangers = joined[joined["_merge"] != "both"]
    if len(strangers):
        differ = f"{counted(len(strangers), 'image')} of difference: {examples(strangers['image_id'])}"
        advice = "type `kit split --force`, then train again under another name"
        raise KitError(f"{path}: no longer matches the index ({differ}); {advice}")
    if not joined["fold"].isin(range(num_folds)).all():
        raise KitError(f"{path}: folds should be 0..{num_folds - 1}")
    torn = joined.groupby("group")["fold"].nunique()
    if (torn > 1).any():
        torn_ids = joined.loc[joined["group"] == torn[torn > 1].index[0], "image_id"]
        raise KitError(f"{path}: images of one group are in several folds ({examples(torn_ids)}); `kit split --force`")
    folds = np.full(len(index), -1, dtype=np.int64)
    lookup = dict(zip(table["image_id"], table["fold"], strict=True))
    folds[usable] = expected["image_id"].map(lookup).to_numpy(np.int64)
    return folds
