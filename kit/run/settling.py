"""What a training leaves open of `machine` is settled once: by what the device can do, and by measuring."""

import platform
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch

from kit import console
from kit.config import Experiment
from kit.data.images import DECODER
from kit.device.accelerator import device_name, is_out_of_memory
from kit.device.measuring import Meter, Trial
from kit.device.precision import Wanted
from kit.errors import ConfigError, KitError, reason
from kit.models import Classifier
from kit.processes import num_cores
from kit.run.frozen import Computing, weights_hash
from kit.run.run import Run
from kit.settings import Train
from kit.training.optim import set_training
from kit.training.workload import TrainingSteps
from kit.workspace import read_json

COMPILE_TRAINING_FROM = 20 * 60  # seconds of training, from which on a minute or two of compiling may pay off
PACKAGES = ("torch", "torchvision", "timm", "albumentations", "cv2", "numpy", "sklearn", "PIL")  # as imported


@dataclass(frozen=True)
class Settled:
    """`images_per_second`: training images, as chosen. `trials`: all that was measured."""

    experiment: Experiment
    images_per_second: float
    trials: list[Trial]


def use_threads(run: Run, threads: int | None = None) -> None:
    threads = threads or run.experiment.machine.num_threads or num_cores()
    torch.set_num_threads(threads if run.device.type == "cpu" else min(threads, num_cores()))


def warn_of_decoder(run: Run) -> None:
    """Warn if the run's pictures were decoded by a library other than today's; runs that name none used simplejpeg."""
    made = read_json(run.files.environment).get("decoder", "simplejpeg") if run.files.environment.is_file() else DECODER
    if made != DECODER:
        console.warn(f"run {run.name} learned from pictures decoded by {made}; here {DECODER} decodes, to other pixels")


def too_large(train: Train) -> str:
    """What to do where a batch does not fit into the memory."""
    halved = f"{max(1, train.batch_size // 2)} and train.accumulate_steps={2 * train.accumulate_steps}"
    return f"too little memory for a batch: --set train.batch_size={halved} have the same gradient, under a new name"


def settle_training(run: Run, model: Classifier, num_images: int) -> Settled:
    """Settle how the run trains. `num_images`: how many it trains on, over all epochs and folds."""
    experiment = run.experiment
    train, machine, name = experiment.train, experiment.machine, experiment.model.name
    experiment = experiment.with_machine(num_threads=machine.num_threads or num_cores())
    torch.set_num_threads(experiment.machine.num_threads or 1)
    set_training(model, train, train.freeze_epochs)
    size = experiment.side(train.epochs // 2)
    others = sorted({experiment.side(epoch) for epoch in range(train.epochs)} - {size})
    steps = TrainingSteps(model, (size, *others), train, run.competition.num_outputs, run.device)
    wanted = Wanted(machine.precision, machine.memory_format, machine.compile)

    def compile_if(images_per_second: float) -> bool:
        return run.device.type != "cpu" and num_images / images_per_second > COMPILE_TRAINING_FROM

    try:
        _ = steps.meets_one_pixel  # runs at every size
        work = steps.workload((name, experiment.model.options, train.freeze_layers, train.freeze_norms))
        trials = Meter(run.device, run.workspace.speeds()).settle(work, wanted, compile_if)
    except (AssertionError, RuntimeError, ValueError) as error:
        if is_out_of_memory(error):
            raise KitError(too_large(train)) from None
        sizes = " or ".join(map(str, (size, *others)))
        fixed = f"; --set model.options.img_size={size} builds it for that" if name.startswith("timm:") else ""
        raise ConfigError(f"model.name: {name} does not run at {sizes} px: {reason(error)}{fixed}") from None
    best = trials[0]
    if not best.images_per_second:
        advice = f"{too_large(train)}; or its loss is unlike fp32's (--set machine.precision=fp32)"
        raise KitError(f"{best.precision} cannot train here: {advice}")
    if len(trials) > 1:
        speeds = [(trial.precision, trial.images_per_second) for trial in trials]
        rows = [[str(one), f"{speed:,.0f}" if speed else "does not run, or is wrong"] for one, speed in speeds]
        console.table(f"{name} at {size} px, training", ["precision, layout", "images/s"], rows)
    name, layout, compiled = vars(best.precision).values()
    experiment = experiment.with_machine(precision=name, memory_format=layout, compile=compiled)
    console.stage("train", f"run {run.name} on {device_name(run.device)}: {Computing.of(experiment.machine)}")
    return Settled(experiment, best.images_per_second, trials)


def environment(run: Run, settled: Settled | None = None) -> dict[str, Any]:
    """What a run was made with: versions, machine and measured speeds."""
    facts: dict[str, Any] = {"python": platform.python_version(), "machine": platform.machine()}
    facts |= {"packages": {name: import_module(name).__version__ for name in PACKAGES}, "decoder": DECODER}
    facts |= {"device": device_name(run.device), "weights": weights_hash(run.experiment.model.weights)}
    if settled is not None:
        facts["images_per_second"] = round(settled.images_per_second, 1)
        facts["probe"] = {str(trial.precision): round(trial.images_per_second, 1) for trial in settled.trials}
    return facts
