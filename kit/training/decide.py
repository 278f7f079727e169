"""What a run leaves open is measured on this machine and decided once: precision, memory layout, threads."""

import os
import platform
from importlib import metadata
from typing import Any

import torch
from torch import nn

from kit import console
from kit.config import Experiment
from kit.errors import ConfigError, KitError
from kit.training.precision import Trial, candidates, choose, device_name, probe


def decide(
    model: nn.Module, experiment: Experiment, num_classes: int, device: torch.device
) -> tuple[Experiment, dict[str, Any]]:
    """(the experiment with nothing left open, the facts for environment.json), and a table of what was measured.

    The facts hold `images_per_second`: training images a second of the chosen precision.
    """
    train, size = experiment.train, experiment.data.image_size
    threads = train.num_threads or num_cores()
    torch.set_num_threads(threads)
    options = candidates(device, train.precision, train.memory_format)
    try:
        trials = probe(model, options, size, train.batch_size, num_classes, device)
    except (AssertionError, RuntimeError, ValueError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ConfigError(
            f"model.name: {experiment.model.name} does not run at data.image_size {size}: {reason}"
        ) from None
    best = choose(trials)
    if not best.images_per_second:
        raise KitError(
            "no precision trains here: too little memory (lower train.batch_size), or another loss than fp32 "
            "(--set train.precision=fp32)"
        )
    if len(trials) > 1:
        rows = [[t.precision.name, t.precision.memory_format, _speed(t)] for t in trials]
        console.table(f"{experiment.model.name} at {size} px, training", ["precision", "layout", "images/s"], rows)
    decided = experiment.with_train(
        precision=best.precision.name, memory_format=best.precision.memory_format, num_threads=threads
    )
    console.stage("train", f"run {experiment.name} on {device_name(device)}: {describe(decided)}")
    return decided, _environment(device, trials, best)


def num_cores() -> int:
    """The cores this process may use (fewer than the machine's in many containers)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe(experiment: Experiment) -> str:
    """`bf16, channels_last, 2 threads`"""
    return f"{experiment.train.precision}, {experiment.train.memory_format}, {experiment.train.num_threads} threads"


def _speed(trial: Trial) -> str:
    return f"{trial.images_per_second:,.0f}" if trial.images_per_second else "too slow, or wrong"


def _environment(device: torch.device, trials: list[Trial], best: Trial) -> dict[str, Any]:
    packages = ("torch", "torchvision", "timm", "albumentations", "opencv-python-headless", "numpy", "scikit-learn")
    return {
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in packages},
        "device": device_name(device),
        "machine": platform.machine(),
        "images_per_second": round(best.images_per_second, 1),
        "probe": {f"{t.precision.name} {t.precision.memory_format}": round(t.images_per_second, 1) for t in trials},
    }
