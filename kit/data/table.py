"""The index as a table: its columns, how it is read, which rows may be used for what.

`index.csv`: image_id, split, target_label, path, format, width, height, bytes, md5, dhash, group, mean_r..b,
var_r..b, problem. Means and variances are of RGB in [0, 1] at full size. An unreadable file has width 0.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from kit.errors import KitError

TARGET = "target_label"
CHANNELS = ("r", "g", "b")
MEANS = [f"mean_{c}" for c in CHANNELS]
VARIANCES = [f"var_{c}" for c in CHANNELS]
COLUMNS = [
    "image_id", "split", TARGET, "path", "format", "width", "height", "bytes", "md5", "dhash", "group",
    *MEANS, *VARIANCES, "problem",
]  # fmt: skip
_TEXT = dict.fromkeys(("image_id", "split", TARGET, "path", "format", "md5", "dhash", "problem"), str)


def read_index(path: Path) -> pd.DataFrame:
    """The index with ids as text and empty text as ""; raises `KitError` when it is not there or not an index."""
    if not path.is_file():
        raise KitError(f"{path}: no such file; type `kit index` first")
    index = pd.read_csv(path, dtype=_TEXT, keep_default_na=False, na_values={c: [""] for c in [*MEANS, *VARIANCES]})
    missing = [column for column in COLUMNS if column not in index]
    if missing:
        raise KitError(f"{path}: column {missing[0]} is missing; type `kit index --force` to write it anew")
    return index


def read_rows(path: Path) -> pd.DataFrame:
    """A CSV of images (folds, OOF, test predictions): ids and classes stay text, so `NA` and `007` survive."""
    return pd.read_csv(path, dtype={"image_id": str, TARGET: str}, keep_default_na=False)


def readable(index: pd.DataFrame) -> np.ndarray:
    """bool (N,): rows whose pixels can be used."""
    return (index["width"] > 0).to_numpy()


def trainable(index: pd.DataFrame) -> np.ndarray:
    """bool (N,): readable training images with a known class."""
    return readable(index) & (index["split"] == "train").to_numpy() & (index[TARGET] != "").to_numpy()


def labelled_test(index: pd.DataFrame) -> np.ndarray:
    """bool (N,): readable test images whose class is known (a benchmark's): good for a score, never for training."""
    return readable(index) & (index["split"] == "test").to_numpy() & (index[TARGET] != "").to_numpy()


def class_numbers(index: pd.DataFrame, classes: tuple[str, ...]) -> np.ndarray:
    """int64 (N,): each row's class as its place in `classes`, -1 where there is none."""
    return index[TARGET].map({name: number for number, name in enumerate(classes)}).fillna(-1).to_numpy(np.int64)


def channel_statistics(index: pd.DataFrame) -> tuple[list[float], list[float]]:
    """RGB mean and std over all pixels of these rows, in [0, 1], every image with equal weight.

    Law of total variance: var = mean of the images' variances + variance of the images' means.
    """
    means, variances = index[MEANS].to_numpy(float), index[VARIANCES].to_numpy(float)
    std = np.sqrt(variances.mean(axis=0) + means.var(axis=0))
    return means.mean(axis=0).tolist(), std.tolist()
