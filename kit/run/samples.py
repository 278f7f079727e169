"""The pictures of a run as arrays: which there are, which fold scores each, their pixels, and their targets."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

from kit.data.pixels import Pixels, Stacked
from kit.data.table import labelled_test, readable, trainable
from kit.workspace import Fold

NOTHING = np.empty(0, np.int64)


@dataclass(frozen=True)
class Samples:
    """Row by row of `index`: `folds` int64 (N,), -1 for test and unreadable images; `pixels` uint8 (N, S, S, 3); as in
    `data.table` the `given` targets, which score, and the `targets` to learn; `dropped` bool (N,): never learned.
    `columns` float32 (N, F), as in `data.columns`: what tables say beside the picture, where the experiment asks."""

    index: pd.DataFrame
    folds: np.ndarray
    pixels: Pixels
    given: np.ndarray
    targets: np.ndarray
    dropped: np.ndarray
    columns: np.ndarray | None = None

    @classmethod
    def plain(
        cls, index: pd.DataFrame, folds: np.ndarray, pixels: Pixels, given: np.ndarray,
        columns: np.ndarray | None = None,
    ) -> Self:  # fmt: skip
        """Learned as given."""
        return cls(index, folds, pixels, given, given, np.zeros(len(index), bool), columns)

    def with_extra(self, index: pd.DataFrame, pixels: Pixels, targets: np.ndarray) -> Self:
        """Followed by more pictures, which no fold scores."""
        both, count = pd.concat([self.index, index], ignore_index=True), len(index)
        given, learned = (np.concatenate([own, targets]) for own in (self.given, self.targets))
        folds, dropped = np.append(self.folds, np.full(count, -1)), np.append(self.dropped, np.zeros(count, bool))
        return type(self)(both, folds, Stacked(self.pixels, pixels), given, learned, dropped)

    def training_rows(self, fold: Fold) -> np.ndarray:
        """Rows that this fold's model learns from, without pseudo-labelled ones."""
        own = trainable(self.index) if fold == "full" else (self.folds >= 0) & (self.folds != fold)
        return np.flatnonzero((own & ~self.dropped) | (self.index["split"] == "extra").to_numpy())

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
