"""The features of a frozen network: its outputs for every image and view, kept on disk beside the pixels."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from kit import console
from kit.data.cache import Pixels, cached
from kit.data.loader import Batches
from kit.device.accelerator import pins_memory
from kit.inference.predictor import features, prepare
from kit.inference.views import ViewSet
from kit.models import Classifier
from kit.run.run import Run
from kit.run.settling import prediction_batch, prediction_compute, sample
from kit.schema import to_mapping
from kit.workspace import fingerprint

VERSION = 1


def has_frozen_network(run: Run) -> bool:
    """Are only its heads fitted, on features that are kept? No other room asks `train.mode`."""
    return run.experiment.train.mode == "features"


def view_set(run: Run) -> ViewSet:
    """The TTA views of a run."""
    return ViewSet.of(run.experiment.tta, run.experiment.data.image_size)


def stream(run: Run, pixels: Pixels, rows: np.ndarray, title: str) -> Iterator[torch.Tensor]:
    """Those rows' pixels (B, 3, P, P), batch by batch, with a progress bar."""
    side = pixels.shape[1]
    batches = Batches(pixels, np.zeros(len(pixels), np.int64), rows, prediction_batch(run), side)
    workers = run.experiment.machine.num_workers
    loaded = batches.stream(0, 0 if workers == "auto" else workers, pins_memory(run.device))  # gathering needs no help
    return (batch.pixels for batch in console.track(loaded, title, len(batches)))


def run_features(run: Run, model: Classifier) -> np.ndarray:
    """float16 (views, N, D), memory-mapped: the model without its head, on every row of the index and every TTA view.

    The run's prediction is settled. Made once for all folds, runs and heads; the file's name says what made it.
    """
    pixels, md5, views = run.samples.pixels, run.index["md5"].tolist(), view_set(run)
    settings = to_mapping(run.experiment)
    size = [settings["data"][key] for key in ("image_size", "cache_size", "resize")]
    network = [settings["model"]["name"], settings["model"]["options"], _hash(model.without_head())]
    names = [str(view) for view in views.views]
    key = fingerprint(VERSION, md5, size, network, names, str(prediction_compute(run).precision))
    shape = (len(views), len(pixels), model.head().in_features)

    def build(path: Path) -> None:
        made = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)
        done = 0
        for part in _batches(run, model, np.arange(len(pixels)), views):
            made[:, done : done + part.shape[1]] = part.to(torch.float16).numpy()
            done += part.shape[1]
        made.flush()

    folder = run.workspace.cache(run.competition.name)
    return cached(folder, f"features-{key[:16]}", shape, np.dtype(np.float16), build)


def features_through(run: Run, model: Classifier, rows: np.ndarray, views: ViewSet) -> np.ndarray:
    """float32 (views, rows, D): the outputs of the model without its head for these rows through these views."""
    return torch.cat(list(_batches(run, model, rows, views)), dim=1).numpy()


def _batches(run: Run, model: Classifier, rows: np.ndarray, views: ViewSet) -> Iterator[torch.Tensor]:
    pixels = run.samples.pixels
    ready = prepare(model.without_head(), model.activate, prediction_compute(run), sample(run, pixels))
    yield from features(ready, stream(run, pixels, rows, f"features of {len(rows):,} images"), views)


def _hash(model: Classifier) -> str:
    """Of every weight's bytes, normalisation included."""
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        if name == "target_scale":  # of a number's head
            continue
        digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()
