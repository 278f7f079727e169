"""What a training leaves open of `machine` is settled once: by what the device can do, and by measuring."""

import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.metadata import version
from typing import Any

import torch

from kit import console
from kit.config import Experiment
from kit.data.images import DECODER
from kit.device.accelerator import device_name, is_out_of_memory, most_processes, processor
from kit.device.measuring import Meter, Trial, Workload
from kit.device.precision import Wanted, is_emulated
from kit.errors import ConfigError, KitError, counted, reason
from kit.models import Classifier
from kit.processes import num_cores
from kit.run.frozen import Computing, decoder_of, weights_hash
from kit.run.run import Run, RunFold
from kit.settings import Train
from kit.training.optim import set_training
from kit.training.workload import TrainingSteps, overruns_memory
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
    """Warn if the run's pictures were decoded by a library other than today's."""
    made = decoder_of(run.files.environment)
    if made != DECODER:
        console.warn(f"run {run.name} learned from pictures decoded by {made}; here {DECODER} decodes, to other pixels")


def warn_of_emulation(run: Run, precision: str, key: str) -> None:
    """Warn where the device emulates the number format that `machine.<key>` names; with the way out."""
    if is_emulated(run.device, precision):
        own = Wanted().candidates(run.device)[0].name
        slow = f"{device_name(run.device)} has no instructions for {precision}: many times slower than {own}"
        begun = "; a fold that has begun goes on as it is, or anew with --force" if key == "precision" else ""
        console.warn(f"{slow}. --set machine.{key}={own} computes in {own}{begun}")


def tell_how_it_goes_on(run: Run, ahead: list[RunFold]) -> None:
    """Folds that have begun keep the number format, layout and threads that they began with. `ahead`: those that will
    be trained."""
    warn_of_decoder(run)
    now = Computing.of(run.experiment.machine)
    console.stage("train", f"run {run.name} goes on as it was made: {now}")
    for fold in run.folds([*range(run.experiment.data.num_folds), "full"]):
        if fold.computing != now:
            console.stage("train", f"{fold.title} keeps the settings it began with: {fold.computing}")
    for name in sorted({fold.computing.precision for fold in ahead}):
        warn_of_emulation(run, name, "precision")


def require_shareable(run: Run) -> None:
    """Raise `ConfigError` where several processes cannot share a fold's batches (`machine.gpus_per_fold`)."""
    experiment = run.experiment
    count, size = experiment.machine.gpus_per_fold or 1, experiment.train.batch_size
    there = most_processes(run.device)
    if there is not None and count > there:
        raise ConfigError(f"machine.gpus_per_fold: {count}, and this machine has {counted(there, 'GPU')}")
    if count > size:
        raise ConfigError(f"machine.gpus_per_fold: {count} processes cannot share a batch of {size} (train.batch_size)")
    if count > 1 and experiment.machine.compile is True:
        raise ConfigError(
            "machine.compile: no fold of several processes is compiled (machine.gpus_per_fold); set it to false"
        )


def too_large(train: Train) -> str:
    """What to do where a batch does not fit into the memory."""
    halved = f"{max(1, train.batch_size // 2)} and train.accumulate_steps={2 * train.accumulate_steps}"
    return f"too little memory for a batch: --set train.batch_size={halved} have the same gradient, under a new name"


def does_not_run(run: Run, sizes: list[int], error: Exception) -> ConfigError:
    """`error`: what the model raised for pictures of these sizes, in pixels a side."""
    name, tried, size = run.experiment.model.name, " or ".join(map(str, sizes)), run.experiment.data.image_size
    fixed = f"; --set model.options.img_size={size} builds it for that" if name.startswith("timm:") else ""
    if fixed and run.experiment.train.sizes:
        fixed = f"; --set train.sizes=[] --set model.options.img_size={size} builds and trains it at one size"
    return ConfigError(f"model.name: {name} does not run at {tried} px: {reason(error).rstrip('.')}{fixed}")


def settle_training(run: Run, model: Classifier, num_images: int) -> Settled:
    """Settle how the run trains. `num_images`: how many it trains on, over all epochs and folds. Where processes share
    a fold, one's share is measured."""
    experiment = run.experiment
    train, machine, name = experiment.train, experiment.machine, experiment.model.name
    threads, shared = machine.num_threads or num_cores(), machine.gpus_per_fold or 1
    experiment = experiment.with_machine(num_threads=threads, gpus_per_fold=shared)
    torch.set_num_threads(max(1, threads // shared))
    set_training(model, train, train.freeze_epochs)
    steps, sizes = _steps(run, model)
    wanted = Wanted(machine.precision, machine.memory_format, machine.compile)
    if run.device.type == "cpu" and overruns_memory(model):
        if machine.memory_format == "channels_last":
            why = "torch may crash there, at a strided 1x1 convolution of so few channels"
            raise ConfigError(f"machine.memory_format: {name} trains on a CPU only as contiguous or auto; {why}")
        wanted = replace(wanted, memory_format="contiguous")

    def compile_if(images_per_second: float) -> bool:
        return shared == 1 and run.device.type != "cpu" and num_images / images_per_second > COMPILE_TRAINING_FROM

    try:
        _ = steps.meets_one_pixel  # runs at every size
        work = _work(run, steps)
        trials = Meter(run.device, run.workspace.speeds()).settle(work, wanted, compile_if)
    except (AssertionError, RuntimeError, ValueError) as error:
        if is_out_of_memory(error):
            raise KitError(too_large(train)) from None
        raise does_not_run(run, sizes, error) from None
    best = trials[0]
    if not best.images_per_second:
        advice = f"{too_large(train)}; or its loss is unlike fp32's (--set machine.precision=fp32)"
        raise KitError(f"{best.precision} cannot train here: {advice}")
    if len(trials) > 1:
        speeds = [(trial.precision, trial.images_per_second) for trial in trials]
        rows = [[str(one), f"{speed:,.0f}" if speed else "does not run, or is wrong"] for one, speed in speeds]
        console.table(f"{name} at {sizes[0]} px, training", ["precision, layout", "images/s"], rows)
    name, layout, compiled = vars(best.precision).values()
    experiment = experiment.with_machine(precision=name, memory_format=layout, compile=compiled)
    console.stage("train", f"run {run.name} on {device_name(run.device)}: {Computing.of(experiment.machine)}")
    warn_of_emulation(run, name, "precision")
    return Settled(experiment, best.images_per_second * shared, trials)


def speed_here(run: Run, make_model: Callable[[], Classifier]) -> float:
    """Training images/s of a run that was made before: as it was measured then, or anew on another processor."""
    facts = read_json(run.files.environment)
    if facts.get("processor", here := processor(run.device)) == here:
        return float(facts["images_per_second"])
    console.stage("train", f"the run was made on {facts['processor']}; this is {here}")
    model, option = make_model(), Computing.of(run.experiment.machine).as_precision()
    set_training(model, run.experiment.train, run.experiment.train.freeze_epochs)
    shared = run.experiment.machine.gpus_per_fold or 1
    use_threads(run, max(1, (run.experiment.machine.num_threads or num_cores()) // shared))
    work = _work(run, _steps(run, model)[0])
    measured = Meter(run.device, run.workspace.speeds()).measured(work, [option])
    return measured[0].images_per_second * shared or float(facts["images_per_second"])


def _steps(run: Run, model: Classifier) -> tuple[TrainingSteps, list[int]]:
    """The steps to measure, and the sizes that they train at, in pixels: the one of half-way first."""
    experiment, train = run.experiment, run.experiment.train
    size = experiment.side(train.epochs // 2)
    sizes = [size, *sorted({experiment.side(epoch) for epoch in range(train.epochs)} - {size})]
    train = replace(train, batch_size=-(-train.batch_size // (experiment.machine.gpus_per_fold or 1)))
    return TrainingSteps(model, sizes, train, run.competition.outputs.count, run.device), sizes


def _work(run: Run, steps: TrainingSteps) -> Workload:
    model, train = run.experiment.model, run.experiment.train
    return steps.workload((model.name, model.options, train.freeze_layers, train.freeze_norms))


def environment(run: Run, settled: Settled | None = None) -> dict[str, Any]:
    """What a run was made with: versions, machine and measured speeds."""
    facts: dict[str, Any] = {"python": platform.python_version(), "machine": platform.machine()}
    facts |= {"packages": {name: _version(name) for name in PACKAGES}, "decoder": DECODER}
    facts |= {"device": device_name(run.device), "processor": processor(run.device)}
    facts |= {"weights": weights_hash(run.experiment.model.weights)}
    if settled is not None:
        facts["images_per_second"] = round(settled.images_per_second, 1)
        facts["probe"] = {str(trial.precision): round(trial.images_per_second, 1) for trial in settled.trials}
    return facts


def _version(name: str) -> str:
    """As the package says itself (torch: for which CUDA). timm, whose import takes seconds, only where it is in use."""
    if name == "timm" and name not in sys.modules:
        return version(name)
    return str(import_module(name).__version__)
