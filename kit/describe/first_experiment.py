"""The experiment to start with: it fits a competition's pictures, their number, and this machine."""

import math
from statistics import median
from typing import Any

import numpy as np

from kit.competition import Competition
from kit.data.sources import parse_idx
from kit.describe.inventory import Entry
from kit.describe.targets import Case
from kit.device.accelerator import default_device, device_name

LOOKED_AT = 200  # pictures whose size is read
SIZES = (28, 32, 48, 64, 96, 128, 160, 192, 224)
CPU_LARGEST, CPU_IMAGES = 96, 400_000  # pixels a side; training images in all epochs of a fold


def first_experiment(competition: Competition, entries: list[Entry], reading: Case) -> dict[str, Any]:
    """An experiment's mapping: our ResNet from random weights, sizes that fit the pictures and this machine."""
    on_gpu = default_device().type != "cpu"
    sides, count = _sides(entries, competition)
    typical = int(median(sides)) if sides else 224
    largest = 224 if on_gpu else CPU_LARGEST
    size = max((s for s in SIZES if s <= min(typical, largest)), default=SIZES[0])
    machine = device_name(default_device())
    epochs = 20 if on_gpu else int(np.clip(CPU_IMAGES / max(count * 0.8, 1), 5, 40))
    batch = 64 if count >= 4000 else 32
    steps = max(1, int(count * 0.8) // batch)
    seen = f"{count:,} training pictures, typically {typical} px"
    reading.because(f"{seen}: image_size {size}, {epochs} epochs, for {machine}")
    small = size <= 40
    crops: list[dict[str, Any]] = [{"Affine": {"scale": [0.9, 1.1], "rotate": [-10, 10], "translate_percent": 0.08}}]
    if not small:
        crops = [{"RandomResizedCrop": {"scale": [0.5, 1.0], "ratio": [0.8, 1.25]}}, {"HorizontalFlip": {"p": 0.5}}]
    network = {"name": "resnet34", "options": {"stem": "auto"}}
    if not on_gpu:
        network = {"name": "resnet18", "options": {"stem": "auto", "width": 0.5}}
    decay = 1 - 1 / max(10.0, min(1000.0, 2.0 * steps))  # the average reaches back two epochs
    return {
        "name": competition.name,
        "competition": competition.name,
        "seed": 0,
        "data": {"image_size": size, "num_folds": 5} | ({"cache_size": round(size * 8 / 7)} if not small else {}),
        "augment": crops,
        "model": network,
        "train": {
            "epochs": epochs, "batch_size": batch, "learning_rate": 2.0e-3, "schedule": "one_cycle",
            "warmup_epochs": round(epochs * 0.3, 1), "ema_decay": round(decay, 4),
        },
        "tta": {"views": ["identity"] if small else ["identity", "hflip"]},
    }  # fmt: skip


def _sides(entries: list[Entry], competition: Competition) -> tuple[list[int], int]:
    """(the shorter sides of some training pictures, how many training pictures there are)"""
    role = competition.files.train[0]
    entry = next(e for e in entries if e.role == role)
    if competition.labels.layout == "idx":
        count, height, width = parse_idx(entry.read(""), role).shape
        return [min(height, width)], count
    if competition.labels.layout == "pixels-csv":
        pixels = sum(column.startswith("pixel") for column in entry.columns)
        return [math.isqrt(pixels)], len(entry.table())
    places = np.linspace(0, len(entry.pictures) - 1, min(LOOKED_AT, len(entry.pictures))).astype(int)
    sizes = [size for place in places if (size := entry.size_of(entry.pictures[place])) is not None]
    count = len(entry.pictures)
    if competition.files.train == competition.files.test:
        labels = next(e for e in entries if e.role in competition.files.train_labels)
        count = len(labels.table()) if labels.name.endswith(".csv") else count
    return [min(size) for size in sizes], count
