"""For prediction: trained folds made ready, and what they say of rows of the pixel cache."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from kit.assembly.features import experiment_features, sample, stream, tta_precision
from kit.competition import Competition
from kit.config import Experiment
from kit.data.cache import Pixels
from kit.inference.predictor import predict, predict_heads, prepare
from kit.inference.probe import decide
from kit.inference.views import expand
from kit.machine import default_device
from kit.models import Classifier, build_classifier
from kit.training.checkpoint import load_model
from kit.workspace import Fold, Workspace


def trained_model(experiment: Experiment, workspace: Workspace, competition: Competition, fold: Fold) -> Classifier:
    """The fold's model as its training left it."""
    model, size = experiment.model, experiment.data.image_size
    built = build_classifier(model.name, competition.num_outputs, model.options, image_size=size, task=competition.task)
    built.load_state_dict(load_model(workspace.fold(experiment.name, fold) / "model.safetensors")[0])
    return built


def settle(
    experiment: Experiment, workspace: Workspace, model: Classifier, pixels: Pixels, num_images: int
) -> Experiment:
    """The experiment with `tta` decided: how `num_images` (views and models counted) are predicted here."""
    settings, seen, device = experiment.model, sample(experiment, pixels), default_device()
    subject = (settings.name, settings.options, experiment.data.image_size)
    tta = decide(model, model.activate, experiment.tta, subject, seen, num_images, device, workspace.speeds())
    return replace(experiment, tta=tta)


class Members:
    """Trained folds of a settled experiment, ready to predict."""

    def __init__(
        self,
        experiment: Experiment,
        workspace: Workspace,
        competition: Competition,
        folds: Sequence[Fold],
        pixels: np.ndarray,
        md5: Sequence[str] | None = None,
    ) -> None:
        """`md5` of the pixels' files, where features of them may be kept: heads on a frozen network then share them."""
        self._experiment, self._device = experiment, default_device()
        self._models = {fold: trained_model(experiment, workspace, competition, fold) for fold in folds}
        self._features, self._outputs = None, competition.num_outputs
        if experiment.train.mode == "features" and md5 is not None:
            model = self._models[folds[0]]
            self._features = experiment_features(experiment, workspace, competition.name, model, pixels, md5)
            return
        seen, precision = sample(experiment, pixels), tta_precision(experiment)
        self._ready = {
            fold: prepare(model, model.activate, precision, self._device, seen) for fold, model in self._models.items()
        }

    def predict(self, folds: Sequence[Fold], pixels: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """float32 (folds, rows, C), mean over the views; `rows` of `pixels`, read once for all the folds."""
        experiment, tta = self._experiment, self._experiment.tta
        if not len(rows):
            return np.empty((len(folds), 0, self._outputs), np.float32)
        if self._features is not None:
            heads = [(self._models[fold].head(), self._models[fold].activate) for fold in folds]
            seen = torch.from_numpy(self._features[:, rows]).float()
            return predict_heads(heads, seen, tta.average).numpy()
        ready, views = [self._ready[fold] for fold in folds], expand(tta.views)
        batches = stream(experiment, pixels, rows, f"predict with fold {', '.join(map(str, folds))}")
        return predict(ready, batches, views, experiment.data.image_size, tta.average, self._device).numpy()
