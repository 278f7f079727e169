"""How a run predicts: settled once; a frozen network's features, cached; its folds' models made ready; their tables."""

import copy
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from kit import console
from kit.artifacts import Artifact
from kit.batch import Batch
from kit.competition import Competition
from kit.data.cache import cached
from kit.data.columns import names_of
from kit.data.images import DECODED_BY
from kit.data.loader import Batches
from kit.data.pixels import Pixels, most_pictures
from kit.data.rows import write_rows
from kit.device.accelerator import pins_memory
from kit.device.measuring import Meter
from kit.device.precision import Compute, Precision, Wanted
from kit.errors import ConfigError, KitError, reason
from kit.inference.predictor import features, predict, predict_heads, prepare
from kit.inference.views import ViewSet
from kit.inference.workload import PredictionBatches
from kit.models import Classifier
from kit.run.run import Run, RunFold
from kit.run.settling import does_not_run, warn_of_decoder, warn_of_emulation
from kit.schema import to_mapping
from kit.settings import TTA, View
from kit.workspace import Fold, file_hash, fingerprint

FEATURES_VERSION, TABLES_VERSION = 1, 4
PREDICT_KEYS = ("predict_precision", "predict_memory_format", "predict_compile")  # of `machine`, as in `Precision`
COMPILE_FROM = 120  # seconds of prediction, from which on seconds of compiling may pay off


def settle_prediction(run: Run, model: Classifier, pixels: Pixels, num_images: int) -> None:
    """Settle how the run predicts `num_images` (counting views and models) with these weights."""
    warn_of_decoder(run)
    wanted = Wanted(*(getattr(run.experiment.machine, key) for key in PREDICT_KEYS))
    if wanted.name != "auto":
        warn_of_emulation(run, wanted.name, "predict_precision")
    if "auto" in {wanted.name, wanted.memory_format, wanted.compile}:
        batches = PredictionBatches(model, model.activate, sample(run, pixels), run.device)
        settings = run.experiment.model
        work = batches.workload((settings.name, settings.options, run.experiment.data.image_size))
        meter = Meter(run.device, run.workspace.speeds())
        best, *others = meter.settle(work, wanted, lambda speed: num_images / speed > COMPILE_FROM)
        if not any(trial.images_per_second for trial in (best, *others)):
            raise KitError(f"{best.precision} cannot predict here: too little memory; lower train.batch_size")
        if not best.images_per_second:
            wrong = f"{best.precision} does not predict what fp32 predicts with these weights"
            raise KitError(f"machine.predict_precision: {wrong}; use auto")
        console.stage("predict", f"{best.precision} ({console.speed(best.images_per_second)} with one view)")
        chosen = dict(zip(PREDICT_KEYS, vars(best.precision).values(), strict=True))
        run.settle(run.experiment.with_machine(**chosen))


def prediction_compute(run: Run) -> Compute:
    return Compute(run.device, Precision(*(getattr(run.experiment.machine, key) for key in PREDICT_KEYS)))


def prediction_batch(run: Run) -> int:
    return max(64, run.experiment.train.batch_size)


def sample(run: Run, pixels: Pixels) -> torch.Tensor:
    """A prediction batch of the first pictures, as the model sees them: float (B, 3, S, S)."""
    rows = torch.arange(min(prediction_batch(run), len(pixels))).numpy()
    first = torch.from_numpy(pixels[rows]).permute(0, 3, 1, 2)
    return ViewSet.of(TTA(), run.experiment.data.image_size).show(first).through(View())


def has_frozen_network(run: Run) -> bool:
    """Are only its heads fitted, on cached features? No other module reads `train.mode`."""
    return run.experiment.train.mode == "features"


def view_set(run: Run) -> ViewSet:
    return ViewSet.of(run.experiment.tta, run.experiment.data.image_size)


@torch.inference_mode()
def check_views(run: Run, model: Classifier) -> None:
    """Raise `ConfigError` where the model cannot take the pictures that a TTA view makes."""
    views, model = view_set(run), copy.deepcopy(model).eval()
    for side in sorted({views.side(view) for view in views.views}):
        try:
            model(torch.zeros(1, run.competition.num_channels, side, side, dtype=torch.uint8))
        except (AssertionError, RuntimeError, ValueError) as error:
            if side == views.image_size:
                raise does_not_run(run, [side], error) from None
            name, why = run.experiment.model.name, reason(error).rstrip(".")
            raise ConfigError(f"tta.views: {name} cannot take the {side} px that a view shows: {why}") from None


def stream(
    run: Run, pixels: Pixels, rows: np.ndarray, title: str, columns: np.ndarray | None = None
) -> Iterable[Batch]:
    """Those rows at the pixels' own size, batch by batch, with a progress bar."""
    side, size = pixels.shape[1], max(1, prediction_batch(run) // most_pictures(pixels))
    batches = Batches(pixels, np.zeros(len(pixels), np.int64), rows, size, side, columns=columns)
    workers = run.experiment.machine.num_workers
    loaded = batches.stream(0, 0 if workers == "auto" else workers, pins_memory(run.device))  # gathering needs no help
    return console.track(loaded, title, len(batches))


def run_features(run: Run, model: Classifier) -> np.ndarray:
    """float16 (views, N, D), memory-mapped: the model without its head, on every row of the index and every TTA view.
    The run's prediction must be settled. Made once for all folds, runs and heads; the file's name says what made it."""
    pixels, md5, views = run.samples.pixels, run.index["md5"].tolist(), view_set(run)
    settings = to_mapping(run.experiment)
    size = [settings["data"][key] for key in ("image_size", "cache_size", "resize")]
    network = [settings["model"]["name"], settings["model"]["options"], _hash(model.without_head())]
    names = [str(view) for view in views.views]
    made_of = (md5, size, network, names, str(prediction_compute(run).precision), *DECODED_BY)
    key = fingerprint(FEATURES_VERSION, *made_of)
    shape = (len(views), len(pixels), model.head().in_features)

    def build(path: Path) -> None:
        made = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)
        done = 0
        for part in _batches(run, model, np.arange(len(pixels)), views):
            made[:, done : done + part.shape[1]] = part.to(torch.float16).numpy()
            done += part.shape[1]
        made.flush()

    return cached(run.cache, f"features-{key[:16]}", shape, np.dtype(np.float16), build)


def features_through(run: Run, model: Classifier, rows: np.ndarray, views: ViewSet) -> np.ndarray:
    """float32 (views, rows, D): the outputs of the model without its head for these rows through these views."""
    return torch.cat(list(_batches(run, model, rows, views)), dim=1).numpy()


def _batches(run: Run, model: Classifier, rows: np.ndarray, views: ViewSet) -> Iterator[torch.Tensor]:
    pixels = run.samples.pixels
    ready = prepare(model.without_head(), model.activate, prediction_compute(run), sample(run, pixels))
    yield from features(ready, stream(run, pixels, rows, f"features of {len(rows):,} images"), views)


def _hash(model: Classifier) -> str:
    """A hash of every weight's bytes, normalisation included."""
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        if name == "target_scale":  # belongs to a number's head
            continue
        digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()


class FoldPredictors:
    """Predicts with trained folds of a run whose prediction is settled."""

    def __init__(self, run: Run, folds: Sequence[RunFold], pixels: Pixels | None = None) -> None:
        """`pixels`: pictures other than the run's own; for its own, heads on a frozen network share the features."""
        self._run, self._pixels = run, run.samples.pixels if pixels is None else pixels
        self._models = {fold.number: fold.model() for fold in folds}
        self._features, self._exact = None, set[Fold]()
        if has_frozen_network(run) and pixels is None:
            self._features = run_features(run, self._models[folds[0].number])
            return
        compute, seen = prediction_compute(run), sample(run, self._pixels)
        self._ready = {number: prepare(model, model.activate, compute, seen) for number, model in self._models.items()}

    def predict(
        self, folds: Sequence[Fold], rows: np.ndarray, pixels: Pixels | None = None, columns: np.ndarray | None = None
    ) -> np.ndarray:
        """float32 (folds, rows, C), mean over the views; `rows` of the pixels, read once for all folds. `columns`: of
        other pixels than the run's own."""
        run, views = self._run, view_set(self._run)
        if not len(rows):
            return np.empty((len(folds), 0, run.competition.outputs.count), np.float32)
        if self._features is not None:
            heads = [(self._models[fold].head(), self._models[fold].activate) for fold in folds]
            seen = torch.from_numpy(self._features[:, rows]).float()
            return predict_heads(heads, seen, views.average).numpy()
        if pixels is None:
            pixels, columns = self._pixels, run.samples.columns
        batches = stream(run, pixels, rows, f"predict with fold {', '.join(map(str, folds))}", columns)
        made = predict([self._ready[fold] for fold in folds], batches, views).numpy()
        for place, fold in enumerate(folds):
            if not np.isfinite(made[place]).all():
                self._make_exact(fold)
                made[place] = self.predict([fold], rows, pixels, columns)[0]
        return made

    def _make_exact(self, fold: Fold) -> None:
        """Its predictions are nan: fp32 from now on; `KitError` where that is no better."""
        name = self._run.experiment.machine.predict_precision
        if name == "fp32" or fold in self._exact:
            file = self._run.fold(fold).files.model
            raise KitError(f"{file}: its predictions are nan in fp32, too; type `kit train --fold {fold} --force`")
        console.warn(f"fold {fold}: predictions are nan in {name} (machine.predict_precision); fp32 for this model")
        self._exact.add(fold)
        model, layout = self._models[fold], prediction_compute(self._run).precision.memory_format
        compute = Compute(self._run.device, Precision("fp32", layout))
        self._ready[fold] = prepare(model, model.activate, compute, sample(self._run, self._pixels))


def predictions_of(fold: RunFold) -> Artifact:
    """A fold's tables of predictions, as they would be made now."""
    run, samples = fold.run, fold.run.samples
    tta = to_mapping(run.experiment.tta)
    tta |= {key.removeprefix("predict_"): getattr(run.experiment.machine, key) for key in PREDICT_KEYS}
    looked_at = [samples.scored_rows(fold.number), np.flatnonzero(samples.index["split"] == "test")]
    known = ["image_id", "md5", *run.competition.targets, *(names_of(run.competition) if run.column_shape else [])]
    images = samples.index.iloc[np.concatenate(looked_at)][known]
    facts = {"model": file_hash(fold.files.model), "tta": tta}
    made_of = (TABLES_VERSION, facts, images.to_numpy().tolist(), list(run.competition.classes))
    outputs = [fold.files.test] + ([fold.files.oof] if fold.number != "full" else [])
    return Artifact(fold.title, fold.files.predicted, fingerprint(*made_of), outputs, facts)


def write_predictions(fold: RunFold, everything: np.ndarray) -> None:
    """The fold's oof.csv and test.csv, from predictions (N, C) by row of the index."""
    competition, samples = fold.run.competition, fold.run.samples
    own, test = samples.scored_rows(fold.number), (samples.index["split"] == "test").to_numpy()
    with predictions_of(fold).making():
        if fold.number != "full":
            columns = samples.index.iloc[own][["image_id", *competition.targets]].reset_index(drop=True)
            columns.insert(1, "fold", fold.number)
            write_rows(columns.join(prediction_columns(competition, everything[own])), fold.files.oof)
        columns = samples.index.loc[test, ["image_id"]].reset_index(drop=True)
        write_rows(columns.join(prediction_columns(competition, everything[test])), fold.files.test)


def prediction_columns(competition: Competition, probs: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(probs, columns=competition.predictions)
