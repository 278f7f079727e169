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
from kit.batch import Batch
from kit.data.images import decode
from kit.data.pixels import cores_of
from kit.data.reading import changed, parts_of
from kit.data.sources import read_bytes
from kit.data.table import readable
from kit.inference.predictor import predict, prepare
from kit.processes import num_cores
from kit.run.frozen import Computing
from kit.run.network import Networks, initial_model
from kit.run.predicting import prediction_compute, sample, settle_prediction, view_set
from kit.run.run import Run
from kit.training.loop import Feed, Output, fit

DECODED = 400  # pictures
TRAINED_SECONDS = 12.0  # per measurement of training
REPEATS = 3


@dataclass(frozen=True)
class Speed:
    """`images_per_second` of a part of the work; `of_limit`: its share of `limit`, the most this machine could do."""

    name: str
    images_per_second: float
    of_limit: float
    limit: str


@dataclass(frozen=True)
class BenchResult:
    speeds: list[Speed]
    advice: list[str]


def bench(run: Run) -> BenchResult:
    """Measure for about two minutes; needs `kit index` and `kit split`, changes nothing except the cache."""
    trial = run.trial()
    networks = Networks(trial)
    networks.check()
    networks.settle()
    reading = _reading(trial.index, trial.workspace.raw(trial.competition.name))
    speeds = [reading, *training_speeds(networks), prediction_speed(trial)]
    rows = [[one.name, f"{one.images_per_second:,.0f}", f"{one.of_limit:.2f}", one.limit] for one in speeds]
    title = f"{run.name}: {Computing.of(trial.experiment.machine)}"
    console.table(title, ["", "images/s", "of the limit", "limit"], rows)
    advice = _advice(networks, {one.name: one for one in speeds})
    for line in advice:
        console.stage("bench", line)
    return BenchResult(speeds, advice)


def _median_speed(count: int, once: Callable[[], Any]) -> float:
    """Items per second: the median of a few runs, after one that does not count."""
    times = []
    for _ in range(REPEATS + 1):
        began = time.perf_counter()
        once()
        times.append(time.perf_counter() - began)
    return count / median(times[1:])


def _reading(index: pd.DataFrame, raw: Path) -> Speed:
    """Files to full-size pixels on all cores, against the same from memory."""
    files = [raw / parts_of(name)[0] for name in index.loc[readable(index), "path"].iloc[:DECODED]]
    held = []
    for file in files:
        try:
            held.append(read_bytes(file))
        except OSError as error:
            raise changed(file, error) from None
    with ThreadPoolExecutor(num_cores()) as pool:
        from_memory = _median_speed(len(held), lambda: list(pool.map(decode, held)))
        whole = _median_speed(len(files), lambda: list(pool.map(lambda file: decode(read_bytes(file)), files)))
    return Speed("read and decode", whole, whole / from_memory, f"decoding from memory, {num_cores()} cores")


def training_speeds(networks: Networks) -> list[Speed]:
    """The real loop, against the same loop on one resident batch; and the speed at which one core prepares."""
    fold = networks.run.fold(0)
    feed = networks.feed(fold)
    batch = next(feed.batches(0, 0))
    resident = replace(batch, pixels=batch.pixels.to(networks.run.device))
    limit = _loop_speed(networks, lambda steps: iter([resident] * steps))
    few = max(2, 256 // len(batch))
    prepared = _median_speed(few * len(batch), lambda: list(_first(feed.batches(0, 0), few)))
    prepared /= cores_of(networks.run.samples.pixels)
    networks.num_workers = networks.workers(fold, limit)
    whole = _loop_speed(networks, lambda steps: _first(networks.feed(fold).batches(0, 0), steps))
    one_core = Speed("prepare batches, one core", prepared, prepared / limit, "what the network consumes")
    return [one_core, Speed("train", whole, whole / limit, "the loop on one resident batch")]


def _first(batches: Iterator[Batch], count: int) -> Iterator[Batch]:
    for _, batch in zip(range(count), batches, strict=False):
        yield batch


def _loop_speed(networks: Networks, batches: Callable[[int], Iterator[Batch]]) -> float:
    fold, real = networks.run.fold(0), networks.feed(networks.run.fold(0))
    train = replace(networks.run.experiment.train, epochs=1, warmup_epochs=0.0, freeze_epochs=0, unmixed_epochs=0)
    train = replace(train, early_stopping=None)
    size = min(train.batch_size, real.num_images)

    def speed(steps: int) -> float:
        few: Feed = replace(
            real, num_steps=steps, num_images=steps * size, batches=lambda _, start: batches(steps), validation=None,
            test=None,
        )  # fmt: skip
        stepper = replace(networks.stepper(fold, (0, 0)), train=train)
        with tempfile.TemporaryDirectory() as folder:
            output = Output("measure", Path(folder) / "state", Path(folder) / "model")
            return fit(stepper, few, output)[-1]["images_per_second"]

    warm = speed(min(4, real.num_steps))
    return speed(int(np.clip(warm * TRAINED_SECONDS / size, 4, real.num_steps)))


def prediction_speed(trial: Run) -> Speed:
    """Batches from the cache through all TTA views, against the network alone."""
    model, pixels, views = initial_model(trial), trial.samples.pixels, view_set(trial)
    settle_prediction(trial, model, pixels, len(pixels) * len(views))
    seen = sample(trial, pixels)
    ready = prepare(model, model.activate, prediction_compute(trial), seen)
    resident = seen.to(trial.device)
    rounds = 4

    @torch.inference_mode()
    def alone() -> None:
        for _ in range(rounds * len(views)):
            ready.forward(resident).cpu()

    rows = torch.arange(len(seen))
    cached = Batch(torch.from_numpy(pixels[rows.numpy()]).permute(0, 3, 1, 2), rows, rows)
    limit = _median_speed(rounds * len(seen), alone)
    whole = _median_speed(rounds * len(seen), lambda: predict([ready], [cached] * rounds, views))
    return Speed("predict, all views", whole, whole / limit, f"the network alone, {len(views)} views")


def _advice(networks: Networks, speeds: dict[str, Speed]) -> list[str]:
    """What takes the time, and what would change it."""
    run, whole = networks.run, speeds["train"]
    experiment, train = run.experiment, run.experiment.train
    seconds = len(networks.training_set(run.fold(0)).rows) * train.epochs / whole.images_per_second
    folds = experiment.data.num_folds
    fold, all_folds = console.duration(seconds), console.duration(seconds * folds)
    cheaper = "fewer or cheaper lines in `augment`, or a data.cache_size nearer to data.image_size"
    if whole.of_limit >= 0.9:
        slow = f"training is limited by the network ({whole.of_limit:.0%} of its own speed)"
        cheaper = "a smaller data.image_size, model.options.width or fewer epochs save time; workers do not"
    elif run.device.type != "cpu":
        slow = f"training waits for batches from {networks.num_workers} workers ({whole.of_limit:.0%} of its speed)"
    else:
        slow = f"preparing batches takes {1 - whole.of_limit:.0%} of the training"
    return [f"a fold of {train.epochs} epochs: {fold}; {folds} folds: {all_folds}", f"{slow}: {cheaper}"]
