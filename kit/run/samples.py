"""The pictures of a run as arrays: which there are, which fold scores each, their pixels, and their targets."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

from kit.data.cache import Pixels, Stacked
from kit.data.table import labelled_test, readable, trainable
from kit.workspace import Fold

NOTHING = np.empty(0, np.int64)


@dataclass(frozen=True)
class Samples:
    """Row by row of `index`: `folds` int64 (N,), -1 for test, unreadable and dropped images; `pixels` uint8
    (N, S, S, 3); `targets` as in `data.table`."""

    index: pd.DataFrame
    folds: np.ndarray
    pixels: Pixels
    targets: np.ndarray

    def with_extra(self, index: pd.DataFrame, pixels: Pixels, targets: np.ndarray) -> Self:
        """Followed by more pictures, which no fold scores."""
        both, folds = pd.concat([self.index, index], ignore_index=True), np.append(self.folds, np.full(len(index), -1))
        return type(self)(both, folds, Stacked(self.pixels, pixels), np.concatenate([self.targets, targets]))

    def training_rows(self, fold: Fold) -> np.ndarray:
        """Rows that this fold's model learns from, without pseudo-labelled ones."""
        own = trainable(self.index) if fold == "full" else (self.folds >= 0) & (self.folds != fold)
        return np.flatnonzero(own | (self.index["split"] == "extra").to_numpy())

    def scored_rows(self, fold: Fold) -> np.ndarray:
        """Rows that this fold's model never sees and is scored on; empty for `full`."""
        return np.flatnonzero(self.folds == fold) if fold != "full" else NOTHING

    @property
    def test_rows(self) -> np.ndarray:
        """Readable test images."""
        return np.flatnonzero((self.index["split"] == "test").to_numpy() & readable(self.index))

    @property
    def labelled_test_rows(self) -> np.ndarray:
        return np.flatnonzero(labelled_test(self.index))

    def row_of(self) -> dict[str, int]:
        """A training image's id -> its row."""
        train = self.index.index[self.index["split"] == "train"]
        return dict(zip(self.index.loc[train, "image_id"], train.tolist(), strict=True))
