"""What a run leaves open is decided once: precision and memory layout by measuring, threads by this machine's cores."""

import platform
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kit import console
from kit.config import Experiment, Train
from kit.errors import ConfigError, KitError, counted, reason
from kit.machine import Precision, Trial, candidates, choose, device_name, measured, num_cores
from kit.training.optim import set_training
from kit.training.probe import probe

COMPILE_FROM = 20 * 60  # seconds of training, from which on a minute or two of compiling may pay


def decide(
    model: nn.Module, experiment: Experiment, num_classes: int, num_images: int, device: torch.device, memory: Path
) -> tuple[Experiment, dict[str, Any]]:
    """(the experiment with nothing left open, the facts for environment.json), and a table of what was measured.

    `num_images`: how many the run trains on, over all epochs and folds; `memory`: the file of `machine.measured`. The
    facts hold `images_per_second`: training images a second of the chosen precision.
    """
    train = experiment.train
    size = experiment.side(train.epochs // 2)
    threads = train.num_threads or num_cores()
    torch.set_num_threads(threads)
    set_training(model, train, train.freeze_epochs)
    options = candidates(device, train.precision, train.memory_format)
    network = (experiment.model.name, experiment.model.options, train.freeze_layers, train.freeze_norms)
    others = tuple(sorted({experiment.side(epoch) for epoch in range(train.epochs)} - {size}))
    asked = ("training", *network, size, others, train.batch_size, num_classes, threads)

    def try_out(options: list[Precision]) -> list[Trial]:
        measure = partial(probe, model, options, size, train.batch_size, num_classes, device, others)
        return measured(memory, [*asked, *options], device, measure)

    try:
        trials = try_out(options)
    except (AssertionError, RuntimeError, ValueError) as error:
        sizes = " or ".join(map(str, (size, *others)))
        raise ConfigError(f"model.name: {experiment.model.name} does not run at {sizes} px: {reason(error)}") from None
    best = choose(trials)
    if best.images_per_second and _worth_compiling(train, num_images / best.images_per_second, device):
        trials += _compiled(try_out, replace(best.precision, compiled=True))
        best = trials[-1] if train.compile is True and trials[-1].images_per_second else choose(trials)
    if not best.images_per_second:
        raise KitError(
            "no precision trains here: too little memory (lower train.batch_size), or another loss than fp32 "
            "(--set train.precision=fp32)"
        )
    if len(trials) > 1:
        rows = [[str(trial.precision), _speed(trial)] for trial in trials]
        console.table(f"{experiment.model.name} at {size} px, training", ["precision, layout", "images/s"], rows)
    chosen = best.precision
    decided = experiment.with_train(
        precision=chosen.name, memory_format=chosen.memory_format, compile=chosen.compiled, num_threads=threads
    )
    console.stage("train", f"run {experiment.name} on {device_name(device)}: {describe(decided)}")
    facts = {
        "images_per_second": round(best.images_per_second, 1),
        "probe": {str(trial.precision): round(trial.images_per_second, 1) for trial in trials},
    }
    return decided, environment(device) | facts


def describe(experiment: Experiment) -> str:
    """`bf16, channels_last, 2 threads`"""
    return f"{training_precision(experiment.train)}, {counted(experiment.train.num_threads or 1, 'thread')}"


def training_precision(train: Train) -> Precision:
    """What was decided for a run."""
    return Precision(train.precision, train.memory_format, train.compile is True)


def _worth_compiling(train: Train, seconds: float, device: torch.device) -> bool:
    """`seconds`: what the run takes uncompiled."""
    return train.compile is True or (train.compile == "auto" and device.type == "cuda" and seconds > COMPILE_FROM)


def _compiled(try_out: Callable[[list[Precision]], list[Trial]], option: Precision) -> list[Trial]:
    """The compiled trial; without speed where this machine cannot compile (no compiler, an operation it lacks)."""
    try:
        return try_out([option])
    except Exception as error:  # torch.compile's back ends raise whatever they like
        console.warn(f"torch.compile does not work here ({reason(error)}); going on without")
        return [Trial(option, 0.0)]


def _speed(trial: Trial) -> str:
    return f"{trial.images_per_second:,.0f}" if trial.images_per_second else "too slow, or wrong"


def environment(device: torch.device) -> dict[str, Any]:
    """What a run was made with: versions and machine, for environment.json."""
    packages = ("torch", "torchvision", "timm", "albumentations", "opencv-python-headless", "numpy", "scikit-learn")
    return {
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in packages},
        "device": device_name(device),
        "machine": platform.machine(),
    }
