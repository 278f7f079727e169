"""What a frozen network says of every image and view, kept on disk beside the pixels it was made of."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kit import console
from kit.config import Experiment, View
from kit.data.cache import Pixels, cached
from kit.data.loader import Batches
from kit.inference.predictor import features, prepare
from kit.inference.views import Views, expand
from kit.machine import Precision, default_device
from kit.models import Classifier
from kit.schema import to_mapping
from kit.workspace import Workspace, fingerprint

VERSION = 1


def sample(experiment: Experiment, pixels: Pixels) -> torch.Tensor:
    """A prediction batch of the cache's first pictures, as the model sees them: float (B, 3, S, S)."""
    rows = np.arange(min(prediction_batch(experiment), len(pixels)))
    first = torch.from_numpy(pixels[rows]).permute(0, 3, 1, 2)
    return Views(first, experiment.data.image_size).show(View())


def prediction_batch(experiment: Experiment) -> int:
    """Images to a batch."""
    return max(64, experiment.train.batch_size)


def tta_precision(experiment: Experiment) -> Precision:
    """How a settled experiment predicts."""
    return Precision(experiment.tta.precision, experiment.tta.memory_format, experiment.tta.compile is True)


def stream(experiment: Experiment, pixels: Pixels, rows: np.ndarray, title: str) -> Any:
    """Those rows' pixels (B, 3, P, P), batch by batch, with a progress bar."""
    side, on_gpu = pixels.shape[1], default_device().type == "cuda"
    batches = Batches(pixels, np.zeros(len(pixels), np.int64), rows, prediction_batch(experiment), side)
    workers = experiment.train.num_workers
    loaded = batches.stream(0, 0 if workers == "auto" else workers, on_gpu)  # gathering alone needs no help
    return (batch[0] for batch in console.track(loaded, title, len(batches)))


def experiment_features(
    experiment: Experiment,
    workspace: Workspace,
    competition: str,
    model: Classifier,
    pixels: np.ndarray,
    md5: Sequence[str],
) -> np.ndarray:
    """float16 (views, N, D), memory-mapped: the model without its head, on every row of the cache and every TTA view.

    The experiment is settled. Made once for all folds, runs and heads; the file's name says what made it.
    """
    views, precision = expand(experiment.tta.views), tta_precision(experiment)
    settings = to_mapping(experiment)
    size = [settings["data"][key] for key in ("image_size", "cache_size", "resize")]
    network = [settings["model"]["name"], settings["model"]["options"], _hash(model.without_head())]
    key = fingerprint(VERSION, list(md5), size, network, [str(view) for view in views], str(precision))
    shape = (len(views), len(pixels), model.head().in_features)

    def build(path: Path) -> None:
        made = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)
        done = 0
        for part in _seen(experiment, model, pixels, np.arange(len(pixels)), views):
            made[:, done : done + part.shape[1]] = part.to(torch.float16).numpy()
            done += part.shape[1]
        made.flush()

    return cached(workspace.cache(competition), f"features-{key[:16]}", shape, np.dtype(np.float16), build)


def seen_through(
    experiment: Experiment, model: Classifier, pixels: Pixels, rows: np.ndarray, views: Sequence[View]
) -> np.ndarray:
    """float32 (views, rows, D): what the model without its head says of these rows through these views."""
    return torch.cat(list(_seen(experiment, model, pixels, rows, views)), dim=1).numpy()


def _seen(
    experiment: Experiment, model: Classifier, pixels: Pixels, rows: np.ndarray, views: Sequence[View]
) -> Iterator[torch.Tensor]:
    precision, device = tta_precision(experiment), default_device()
    ready = prepare(model.without_head(), model.activate, precision, device, sample(experiment, pixels))
    batches = stream(experiment, pixels, rows, f"features of {len(rows):,} images")
    yield from features(ready, batches, views, experiment.data.image_size, device)


def _hash(model: Classifier) -> str:
    """Of every weight's bytes, normalisation included."""
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        if name == "target_scale":  # of a number's head
            continue
        digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()
