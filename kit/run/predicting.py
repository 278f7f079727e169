"""Trained folds made ready, and their predictions for rows of the pixel cache."""

from collections.abc import Sequence

import numpy as np
import torch

from kit.data.cache import Pixels
from kit.inference.predictor import predict, predict_heads, prepare
from kit.run.features import has_frozen_network, run_features, stream, view_set
from kit.run.run import Run, RunFold
from kit.run.settling import prediction_compute, sample
from kit.workspace import Fold


class FoldPredictors:
    """Trained folds of a run whose prediction is settled."""

    def __init__(self, run: Run, folds: Sequence[RunFold], pixels: Pixels | None = None) -> None:
        """`pixels`: other pictures than the run's own; of its own, heads on a frozen network share the features."""
        self._run, self._pixels = run, run.samples.pixels if pixels is None else pixels
        self._models = {fold.number: fold.model() for fold in folds}
        self._features = None
        if has_frozen_network(run) and pixels is None:
            self._features = run_features(run, self._models[folds[0].number])
            return
        compute, seen = prediction_compute(run), sample(run, self._pixels)
        self._ready = {number: prepare(model, model.activate, compute, seen) for number, model in self._models.items()}

    def predict(self, folds: Sequence[Fold], rows: np.ndarray, pixels: Pixels | None = None) -> np.ndarray:
        """float32 (folds, rows, C), mean over the views; `rows` of the pixels, read once for all the folds."""
        run, views = self._run, view_set(self._run)
        if not len(rows):
            return np.empty((len(folds), 0, run.competition.num_outputs), np.float32)
        if self._features is not None:
            heads = [(self._models[fold].head(), self._models[fold].activate) for fold in folds]
            seen = torch.from_numpy(self._features[:, rows]).float()
            return predict_heads(heads, seen, views.average).numpy()
        pixels = self._pixels if pixels is None else pixels
        batches = stream(run, pixels, rows, f"predict with fold {', '.join(map(str, folds))}")
        return predict([self._ready[fold] for fold in folds], batches, views).numpy()
