"""Folds: stratified by class, near-identical pictures together, seeded."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

from kit.data.table import read_rows, trainable
from kit.errors import KitError, examples


def assign_folds(labels: np.ndarray, groups: np.ndarray, num_folds: int, seed: int) -> np.ndarray:
    """int64 (N,): each image's fold. Raises `KitError` where a class has too few independent images."""
    for label in np.unique(labels):
        count = len(np.unique(groups[labels == label]))
        if count < num_folds:
            raise KitError(
                f"class '{label}' has {count} independent images, too few for {num_folds} folds: "
                f"lower data.num_folds to {max(count, 2)} or less, or leave the class out"
            )
    folds = np.empty(len(labels), dtype=np.int64)
    splitter = StratifiedGroupKFold(num_folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for fold, (_, members) in enumerate(splitter.split(labels, labels, groups)):
            folds[members] = fold
    return folds


def read_folds(path: Path, index: pd.DataFrame, num_folds: int) -> np.ndarray:
    """int64 (N,) per index row: its fold, or -1 for rows that no fold scores. Refuses folds of another index."""
    if not path.is_file():
        raise KitError(f"{path}: no such file; type `kit split` first")
    table = read_rows(path)
    usable = trainable(index)
    expected = index.loc[usable, ["image_id", "group"]]
    joined = expected.merge(table, on="image_id", how="outer", suffixes=("", "_then"), indicator=True)
    strangers = joined[joined["_merge"] != "both"]
    if len(strangers):
        raise KitError(
            f"{path}: does not match the index any more ({len(strangers):,} images differ: "
            f"{examples(strangers['image_id'])}); type `kit split --force`, then train anew under another name"
        )
    if not joined["fold"].isin(range(num_folds)).all():
        raise KitError(f"{path}: folds should be 0..{num_folds - 1}")
    torn = joined.groupby("group")["fold"].nunique()
    if (torn > 1).any():
        torn_ids = joined.loc[joined["group"] == torn[torn > 1].index[0], "image_id"]
        raise KitError(
            f"{path}: near-identical images stand in different folds ({examples(torn_ids)}); `kit split --force`"
        )
    folds = np.full(len(index), -1, dtype=np.int64)
    lookup = dict(zip(table["image_id"], table["fold"], strict=True))
    folds[usable] = expected["image_id"].map(lookup).to_numpy(np.int64)
    return folds
