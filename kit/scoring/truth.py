"""What predictions are compared with."""

from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from kit.metrics import Metric


@dataclass(frozen=True)
class Truth:
    """`targets` as in `kit.metrics.metric`. `groups` int (N,): images of one group (one patient's, near-identical ones)
    are not independent evidence; `None`: each image is its own group. `folds` int64 (N,): which fold scored each image,
    empty where none did."""

    metric: Metric
    targets: np.ndarray
    groups: np.ndarray | None = None
    folds: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))

    def by(self, metric: Metric) -> Self:
        return replace(self, metric=metric)

    def only(self, rows: np.ndarray) -> Self:
        """Some of the images: bool (N,)."""
        groups = None if self.groups is None else self.groups[rows]
        return replace(self, targets=self.targets[rows], groups=groups, folds=self.folds[rows])

    @property
    def codes(self) -> np.ndarray:
        """int64 (N,): each image's group, numbered from 0."""
        return np.arange(len(self.targets)) if self.groups is None else np.unique(self.groups, return_inverse=True)[1]
