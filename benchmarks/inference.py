"""Prediction and indexing against the machine's own limits, and what five folds cost.

    KIT_DATA=DIR python benchmarks/inference.py

Prints, medians of 5 (of 3 where whole folds are trained): `predict` with two views against the folded network alone;
`kit index` of 25,000 photos of the original size (the 500, repeated) against decoding their bytes from memory with
libjpeg-turbo on all cores; training five folds against one; five frozen-feature folds against one pass of features.
"""

import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import simplejpeg
import torch
from training import downloaded, load_photos

from kit import Experiment, Run, Workspace
from kit.allocator import keep_freed_memory
from kit.device.accelerator import CPU
from kit.inference.predictor import predict, prepare
from kit.processes import num_cores
from kit.run.network import initial_model
from kit.run.predicting import prediction_batch, prediction_compute, sample, settle_prediction, stream, view_set
from kit.stages.download import download
from kit.stages.index import index
from kit.stages.split import split
from kit.stages.train import train

REPEATS = 5


def row(name: str, value: str, ratio: float) -> None:
    print(f"| {name} | {value} | {ratio:.3f} |", flush=True)


def timed(work) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def decoded(data: bytes) -> None:
    """Decoded and let go: keeping 5,000 pictures would measure the memory."""
    simplejpeg.decode_jpeg(data)


def indexing(folder: Path) -> None:
    """25,000 photos of the original size."""
    held = load_photos(photos=True)
    source = folder / "source"
    for name in ("train", "test"):
        (source / name).mkdir(parents=True)
    for number in range(25_000):
        name, data = held[number % len(held)]
        (source / "train" / f"{name.partition('.')[0]}.{number}.jpg").write_bytes(data)
    run = downloaded(folder, source, held[0][1])
    some = [data for _, data in held] * 10
    limits, speeds = [], []
    with ThreadPoolExecutor(num_cores()) as pool:
        for turn in range(REPEATS + 1):
            limits.append(len(some) / timed(lambda: list(pool.map(decoded, some))))
            speeds.append(25_000 / timed(lambda: index(run, force=True)))
            del turn
    ratio = median(own / top for own, top in zip(speeds[1:], limits[1:], strict=True))
    row("kit index, 25,000 photos", f"{median(speeds[1:]):,.0f} of {median(limits[1:]):,.0f} images/s", ratio)


def prepared(folder: Path, *settings: str) -> Run:
    """The 128-px set, indexed and split."""
    run = Run.open(Experiment.load("configs/dogs-vs-cats-resnet18.yaml", settings), folder)
    download(run, Path(os.environ["KIT_DATA"]) / "dogs-vs-cats")
    index(run)
    split(run)
    return run


def prediction(folder: Path) -> None:
    """Two views of 5,000 images of the cache, against as many forward passes of one batch."""
    run = prepared(folder)
    run.device = CPU
    pixels, model, views = run.samples.pixels, initial_model(run), view_set(run)
    settle_prediction(run, model, pixels, 10_000)
    seen = sample(run, pixels)
    ready = prepare(model, model.activate, prediction_compute(run), seen)
    rows = np.arange(5_000)
    batches = len(rows) // prediction_batch(run)

    @torch.inference_mode()
    def alone() -> None:
        for _ in range(batches * len(views)):
            ready.forward(seen)

    def whole() -> None:
        predict([ready], stream(run, pixels, rows[: batches * len(seen)], "predict"), views)

    images = batches * len(seen)
    pairs = [(timed(alone), timed(whole)) for _ in range(REPEATS + 1)][1:]
    ratio = median(limit / own for limit, own in pairs)
    value = (
        f"{images / median(own for _, own in pairs):,.0f} of {images / median(top for top, _ in pairs):,.0f} images/s"
    )
    row(f"predict, {len(views)} views", value, ratio)


def trained(experiment: Experiment, workspace: Workspace, fold: int | None = None, force: bool = False) -> float:
    """Seconds of `kit train`: a run that is opened anew. Without a fold, all of them."""
    return timed(lambda: train(Run.open(experiment, workspace), None if fold is None else [fold], force))


def folds(folder: Path) -> None:
    """Five trained folds against one; five frozen-feature folds against one pass."""
    quick = ("train.epochs=1", "train.warmup_epochs=0", "model.options.width=0.25", "machine.predict_compile=false")
    run = prepared(folder, *quick)
    experiment, workspace = run.asked, run.workspace
    turns = []
    for turn in range(4):  # the first one also decodes, and measures the formats
        one, all_folds = replace(experiment, name=f"one-{turn}"), replace(experiment, name=f"five-{turn}")
        first, again = trained(one, workspace, 0), trained(one, workspace, 1)
        turns.append((first - again, again, trained(all_folds, workspace)))
    start, single, five = (median(times) for times in zip(*turns[1:], strict=True))
    value = f"{five:.1f} s; one fold {single:.1f} s, after a start of {start:.1f} s"
    ratio = median((all_five - began) / alone for began, alone, all_five in turns[1:])
    row("five trained folds less one start, in single folds", value, ratio)
    weights = Path(os.environ["KIT_DATA"]) / "weights" / "tf_efficientnet_lite0.safetensors"
    named = weights if weights.is_file() else "none"  # a random network's heads take three times as long to fit
    settings = [f"model.weights={named}", "competition=dogs-vs-cats"]
    frozen = Experiment.load("configs/dogs-vs-cats-features.yaml", settings)
    split(Run.open(frozen, workspace))
    whole, heads = trained(frozen, workspace), trained(frozen, workspace, force=True)
    row("five frozen-feature folds, in passes", f"{whole:.1f} s, of which heads {heads:.1f} s", whole / (whole - heads))


if __name__ == "__main__":
    keep_freed_memory()
    wanted = sys.argv[1:] or ["indexing", "prediction", "folds"]
    print("| what | measured | ratio |\n|---|---|---|")
    for name in wanted:
        with tempfile.TemporaryDirectory() as place:
            {"indexing": indexing, "prediction": prediction, "folds": folds}[name](Path(place))
