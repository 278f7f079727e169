"""bench: how fast this machine reads, augments, trains and predicts on this data, against its own limits."""

import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import torch

from kit import console
from kit.assembly.features import sample, tta_precision
from kit.assembly.fitting import (
    Setup,
    feed,
    fold_model,
    initial_model,
    measured_workers,
    objective,
    training_rows,
    trial_setup,
)
from kit.assembly.predicting import settle
from kit.config import Experiment
from kit.data.images import decode
from kit.data.sources import read_bytes
from kit.data.table import readable
from kit.inference.predictor import predict, prepare
from kit.inference.views import expand
from kit.machine import num_cores
from kit.training.decide import describe, training_precision
from kit.training.loop import Batch, Feed, fit
from kit.workspace import Workspace

DECODED = 400  # pictures
TRAINED_SECONDS = 12.0  # a measurement of training
REPEATS = 3


@dataclass(frozen=True)
class Speed:
    """`images_per_second` of a part of the work; `of_limit`: against what the machine could do of it, where known."""

    name: str
    images_per_second: float
    of_limit: float | None = None
    limit: str = ""


@dataclass(frozen=True)
class BenchResult:
    speeds: list[Speed]
    advice: list[str]


def run(experiment: Experiment, workspace: Workspace) -> BenchResult:
    """Measure for about two minutes; needs `kit index` and `kit split`, changes nothing but the cache."""
    setup = trial_setup(experiment, workspace)
    reading = _reading(setup.index, workspace.raw(setup.competition.name))
    training, workers = _training(setup)
    speeds = [reading, *training, _prediction(setup, workspace)]
    rows = [
        [one.name, f"{one.images_per_second:,.0f}", "" if one.of_limit is None else f"{one.of_limit:.2f}", one.limit]
        for one in speeds
    ]
    console.table(f"{experiment.name}: {describe(setup.experiment)}", ["", "images/s", "of the limit", "limit"], rows)
    advice = _advice(setup, {one.name: one for one in speeds}, workers)
    for line in advice:
        console.stage("bench", line)
    return BenchResult(speeds, advice)


def _median_speed(count: int, once: Callable[[], Any]) -> float:
    """Items a second: the median of a few, after one that does not count."""
    times = []
    for _ in range(REPEATS + 1):
        began = time.perf_counter()
        once()
        times.append(time.perf_counter() - began)
    return count / median(times[1:])


def _reading(index: pd.DataFrame, raw: Path) -> Speed:
    """Files to full-size pixels on all cores, against the same from memory."""
    files = [raw / name for name in index.loc[readable(index), "path"].iloc[:DECODED]]
    held = [read_bytes(file) for file in files]
    with ThreadPoolExecutor(num_cores()) as pool:
        from_memory = _median_speed(len(held), lambda: list(pool.map(decode, held)))
        whole = _median_speed(len(files), lambda: list(pool.map(lambda file: decode(read_bytes(file)), files)))
    return Speed("read and decode", whole, whole / from_memory, f"decoding from memory, {num_cores()} cores")


def _training(setup: Setup) -> tuple[list[Speed], int]:
    """The real loop, against the same loop on one batch that is there already; and what one core prepares."""
    rows = training_rows(setup, 0)
    real = feed(setup, 0, rows)
    batch = next(real.batches(0, 0))
    resident = (batch[0].to(setup.device), batch[1], batch[2])
    limit = _loop_speed(setup, rows, real, lambda steps: iter([resident] * steps))
    workers = measured_workers(setup, 0, limit)
    helped = feed(replace(setup, num_workers=workers), 0, rows)
    whole = _loop_speed(setup, rows, real, lambda steps: _first(helped.batches(0, 0), steps))
    few = max(2, 256 // len(batch[0]))
    prepared = _median_speed(few * len(batch[0]), lambda: list(_first(real.batches(0, 0), few)))
    return [
        Speed("prepare batches, one core", prepared, prepared / limit, "what the network takes"),
        Speed("train", whole, whole / limit, "the loop on one resident batch"),
    ], workers


def _first(batches: Iterator[Batch], count: int) -> Iterator[Batch]:
    for _, batch in zip(range(count), batches, strict=False):
        yield batch


def _loop_speed(setup: Setup, rows: np.ndarray, real: Feed, batches: Callable[[int], Iterator[Batch]]) -> float:
    """Training images a second over an epoch of a few seconds."""
    train = replace(setup.experiment.train, epochs=1, warmup_epochs=0.0, freeze_epochs=0, unmixed_epochs=0)
    train = replace(train, early_stopping=None)
    size = min(train.batch_size, real.num_images)

    def speed(steps: int) -> float:
        short = replace(
            real,
            num_steps=steps,
            num_images=steps * size,
            batches=lambda _, start: batches(steps),
            validation=None,
            test=None,
        )
        model = fold_model(setup, 0, rows)
        with tempfile.TemporaryDirectory() as folder:
            line = fit(
                model,
                train,
                objective(setup, model, rows),
                short,
                Path(folder),
                training_precision(train),
                setup.device,
                (0, 0),
                {},
                "measure",
            )[-1]
        return line["images_per_second"]

    warm = speed(min(4, real.num_steps))
    return speed(int(np.clip(warm * TRAINED_SECONDS / size, 4, real.num_steps)))


def _prediction(setup: Setup, workspace: Workspace) -> Speed:
    """Batches from the cache through all TTA views, against the network alone."""
    model = initial_model(setup.experiment, setup.competition)
    views = expand(setup.experiment.tta.views)
    experiment = settle(setup.experiment, workspace, model, setup.pixels, len(setup.pixels) * len(views))
    seen, device = sample(experiment, setup.pixels), setup.device
    ready = prepare(model, model.activate, tta_precision(experiment), device, seen)
    resident = seen.to(device)
    rounds = 4

    @torch.inference_mode()
    def alone() -> None:
        for _ in range(rounds * len(views)):
            ready.forward(resident).cpu()

    cached = torch.from_numpy(setup.pixels[np.arange(len(seen))]).permute(0, 3, 1, 2)
    tta, size = experiment.tta, experiment.data.image_size
    limit = _median_speed(rounds * len(seen), alone)
    whole = _median_speed(
        rounds * len(seen), lambda: predict([ready], [cached] * rounds, views, size, tta.average, device)
    )
    return Speed("predict, all views", whole, whole / limit, f"the network alone, {len(views)} views")


def _advice(setup: Setup, speeds: dict[str, Speed], workers: int) -> list[str]:
    """What takes the time, and what would change it."""
    experiment, whole = setup.experiment, speeds["train"]
    train = experiment.train
    seconds = len(training_rows(setup, 0)) * train.epochs / whole.images_per_second
    folds = experiment.data.num_folds
    fold, all_folds = console.duration(seconds), console.duration(seconds * folds)
    lines = [f"a fold of {train.epochs} epochs: {fold}; {folds} folds: {all_folds}"]
    share = whole.of_limit or 1.0
    if share >= 0.9:
        lines.append(
            f"training is limited by the network ({share:.0%} of its own speed): a smaller data.image_size, "
            f"model.options.width or fewer epochs save time, workers do not"
        )
    elif setup.device.type == "cuda":
        lines.append(
            f"training waits for its batches ({share:.0%} of the network's speed with {workers} workers): fewer or "
            f"cheaper lines in `augment`, or a data.cache_size nearer to data.image_size"
        )
    else:
        lines.append(
            f"preparing batches takes {1 - share:.0%} of the training: fewer or cheaper lines in `augment`, or a "
            f"data.cache_size nearer to data.image_size"
        )
    return lines
