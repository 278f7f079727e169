"""The index as a table: its columns, how it is read, which rows may be used for what.

`index.csv`: image_id, split, target_<name> per target, path, format, width, height, bytes, md5, dhash, group,
given_group, mean_r..b, var_r..b, problem. Targets are text, empty where they are not known. `group`: near-identical
pictures; `given_group`: the competition's own (patient, site). Means and variances are of RGB in [0, 1] at full size.
An unreadable file has width 0."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from kit.competition import Competition
from kit.data.values import Range, parsed
from kit.errors import KitError, counted, examples

TARGET = "target_label"
CHANNELS = ("r", "g", "b")
MEANS = [f"mean_{c}" for c in CHANNELS]
VARIANCES = [f"var_{c}" for c in CHANNELS]
LISTED = ["image_id", "split", "path", "given_group"]
SEEN = ["format", "width", "height", "bytes", "md5", "dhash", "group", *MEANS, *VARIANCES, "problem"]
RANGE = "value_range"  # a column only where some picture is deeper than 8 bits
_TEXT = (RANGE, "image_id", "split", "path", "given_group", "format", "md5", "dhash", "problem")


def channel_columns(count: int) -> tuple[list[str], list[str]]:
    """(means, variances) of a picture's channels: those beyond RGB go by number."""
    names = [*CHANNELS, *map(str, range(3, count))][:count]
    return [f"mean_{name}" for name in names], [f"var_{name}" for name in names]


def _channels(index: pd.DataFrame) -> int:
    """How many a picture of the index has."""
    return sum(str(name).startswith("mean_") and bool(index[name].notna().any()) for name in index)


def read_index(path: Path) -> pd.DataFrame:
    """The index with ids and targets as text and empty text as ""; raises `KitError` where there is none."""
    if not path.is_file():
        raise KitError(f"{path}: no such file; type `kit index` first")
    index = read_csv(path, _TEXT, ("mean_", "var_"))
    missing = [column for column in [*LISTED, *SEEN] if column not in index]
    if missing or not target_columns(index):
        raise KitError(f"{path}: column {(missing or ['target_'])[0]} is missing; `kit index --force` writes it again")
    return index


def read_csv(path: Path, text: Sequence[str], numbers: tuple[str, ...]) -> pd.DataFrame:
    """`numbers`: what columns begin with whose empty cells are nan."""
    header = pd.read_csv(path, nrows=0).columns
    kinds = {name: str for name in header if name in text or name.startswith(("target_", "column_"))}
    empty = {name: [""] for name in header if name.startswith(numbers)}
    return pd.read_csv(path, dtype=kinds, keep_default_na=False, na_values=empty)


def value_range(index: pd.DataFrame) -> Range | None:
    """Of pictures deeper than 8 bits; `None` where none was found."""
    known = index[RANGE][index[RANGE] != ""].tolist() if RANGE in index else []
    return parsed(known[0]) if known else None


def target_columns(table: pd.DataFrame) -> list[str]:
    return [str(column) for column in table if str(column).startswith("target_")]


def readable(index: pd.DataFrame) -> np.ndarray:
    """bool (N,): rows whose pixels can be used."""
    return (index["width"] > 0).to_numpy()


def known(index: pd.DataFrame) -> np.ndarray:
    """bool (N,): rows whose target is known."""
    return (index[target_columns(index)] != "").all(axis=1).to_numpy()


def trainable(index: pd.DataFrame) -> np.ndarray:
    """bool (N,): readable training images with a known target."""
    return readable(index) & (index["split"] == "train").to_numpy() & known(index)


def labelled_test(index: pd.DataFrame) -> np.ndarray:
    """bool (N,): readable test images whose target is known (a benchmark's): good for a score, never for training."""
    return readable(index) & (index["split"] == "test").to_numpy() & known(index)


def targets(table: pd.DataFrame, competition: Competition) -> np.ndarray:
    """What is to be predicted, by row. Classes: int64 (N,), the position in `competition.classes`, -1 where unknown.
    Labels: float32 (N, C) of 0 and 1. Numbers: float32 (N, C). Unknown labels and numbers are nan."""
    if competition.task in {"classes", "ordinal"}:
        place = {name: number for number, name in enumerate(competition.classes)}
        return table[TARGET].map(place).fillna(-1).to_numpy(np.int64)
    columns = table[competition.targets].replace("", np.nan)
    return columns.to_numpy(np.float32)


def class_counts(table: pd.DataFrame, competition: Competition) -> dict[str, int]:
    """Images of each class (an image with several labels counts for each of them); empty for numbers."""
    if competition.task == "labels":
        return {name: int((table[f"target_{name}"] == "1").sum()) for name in competition.classes}
    if competition.task == "number":
        return {}
    counts = table[TARGET].value_counts()
    return {name: int(counts.get(name, 0)) for name in competition.classes}


def predictions(table: pd.DataFrame, competition: Competition) -> np.ndarray:
    """float (N, C) of an oof.csv or test.csv. Raises `KitError` where its columns, or the .npz beside it, are gone."""
    if competition.predictions[0] not in table:
        raise KitError(f"{competition.name}: a table lacks its predictions; type `kit predict --force`")
    return table[competition.predictions].to_numpy(float)


def strata(index: pd.DataFrame, competition: Competition, num_folds: int) -> np.ndarray:
    """text (N,): the strata that every fold should hold its share of. Classes as they are; combinations of labels, rare
    ones by their rarest label; numbers by tenths of their ranks, of several by those of their mean rank."""
    if competition.task in {"classes", "ordinal"}:
        return index[TARGET].to_numpy(str)
    values = targets(index, competition)
    if competition.task == "number":
        bins = min(10, max(2, len(index) // (2 * num_folds)))
        level = pd.DataFrame(values).rank(method="first").mean(axis=1)
        return pd.qcut(level.rank(method="first"), bins, labels=False).to_numpy().astype(str)
    combined = np.array(["".join("01"[int(v)] for v in row) for row in values])
    counts = pd.Series(combined).map(pd.Series(combined).value_counts()).to_numpy()
    frequency = np.where(values > 0, values.sum(axis=0), np.inf)
    rarest = np.where(values.any(axis=1), frequency.argmin(axis=1).astype(str), "none")
    return np.where(counts >= 2 * num_folds, combined, rarest)


def stratum_name(stratum: str, competition: Competition) -> str:
    """One of `strata` as a person calls it: `red+blue` of the labels' combinations, `red` of the rare ones."""
    classes = competition.classes
    if competition.task != "labels" or stratum == "none":
        return stratum
    if len(stratum) == len(classes):
        return "+".join(name for name, bit in zip(classes, stratum, strict=True) if bit == "1") or "none"
    return classes[int(stratum)]


def fold_groups(index: pd.DataFrame) -> np.ndarray:
    """int64 (N,): images that must share a fold: near-identical, of one given group, or linked through others."""
    size, given = len(index), index["given_group"].to_numpy(str)
    codes = np.where(given == "", size + np.arange(size), np.unique(given, return_inverse=True)[1])
    near = pd.factorize(index["group"])[0]
    edges = coo_array((np.ones(size), (near, near.max(initial=-1) + 1 + codes)), shape=(3 * size, 3 * size))
    return connected_components(edges, directed=False)[1][near].astype(np.int64)


def training_groups(index: pd.DataFrame) -> dict[str, int]:
    train = index[trainable(index)].reset_index(drop=True)
    return dict(zip(train["image_id"], fold_groups(train).tolist(), strict=True))


def require_one_row(ids: pd.Series, what: str) -> None:
    """Raise `KitError` where an id appears twice."""
    repeated = ids[ids.duplicated(keep=False)]
    if len(repeated):
        raise KitError(f"{what}: {counted(repeated.nunique(), 'id')} in several rows ({examples(repeated.unique())})")


def channel_statistics(index: pd.DataFrame) -> tuple[list[float], list[float]]:
    """The channels' mean and std over all pixels of these rows, in [0, 1], every image with equal weight. Law of total
    variance: var = mean of the images' variances + variance of the images' means."""
    means, variances = (index[names].to_numpy(float) for names in channel_columns(_channels(index)))
    std = np.sqrt(variances.mean(axis=0) + means.var(axis=0))
    return means.mean(axis=0).tolist(), np.where(std > 0, std, 1.0).tolist()  # an empty channel stays what it is
