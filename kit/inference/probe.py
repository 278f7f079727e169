"""Which number format and memory layout this model predicts fastest in, on this machine."""

import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kit import console
from kit.config import TTA
from kit.errors import KitError, reason
from kit.inference.predictor import Activate, Predictor, prepare
from kit.machine import HOPELESS, Precision, Trial, candidates, choose, fastest, is_hopeless, measured, whole_batches

TOLERANCE = 0.05  # relative: mean difference of predictions from fp32's
BATCH_SECONDS = 2.0  # for an option's batches
COMPILE_FROM = 120  # seconds of prediction, from which on some seconds of compiling may pay


def decide(
    model: nn.Module,
    activate: Activate,
    tta: TTA,
    subject: tuple[Any, ...],
    pixels: torch.Tensor,
    num_images: int,
    device: torch.device,
    memory: Path,
) -> TTA:
    """`tta` with nothing left open.

    `subject` names the model for `machine.measured` and its file `memory`; `pixels` (B, 3, S, S): a batch of real
    ones; `num_images`: how many predictions there are to make, all views and models counted.
    """
    if tta.precision != "auto" and tta.memory_format != "auto" and tta.compile != "auto":
        return tta
    asked = ("inference", *subject, tuple(pixels.shape), torch.get_num_threads())

    def try_out(options: list[Precision]) -> list[Trial]:
        return measured(memory, [*asked, *options], device, lambda: probe(model, activate, options, pixels, device))

    trials = try_out(candidates(device, tta.precision, tta.memory_format))
    best = choose(trials)
    if not best.images_per_second or not _right(model, activate, best.precision, pixels, device):
        if tta.precision != "auto":
            raise KitError(f"tta.precision: {tta.precision} does not say what fp32 says with these weights; take auto")
        best = choose([trial for trial in trials if trial.precision.name == "fp32"])
    if tta.compile is True or (tta.compile == "auto" and num_images / best.images_per_second > COMPILE_FROM):
        try:
            trials += try_out([replace(best.precision, compiled=True)])
        except Exception as error:  # torch.compile's back ends raise whatever they like
            console.warn(f"torch.compile does not work here ({reason(error)}); going on without")
        forced = tta.compile is True and trials[-1].precision.compiled and trials[-1].images_per_second > 0
        best = trials[-1] if forced else choose([best, *(one for one in trials if one.precision.compiled)])
    console.stage("predict", f"{best.precision} ({best.images_per_second:,.0f} images/s with one view)")
    chosen = best.precision
    decided: dict[str, Any] = {"precision": chosen.name, "memory_format": chosen.memory_format}
    return replace(tta, **decided, compile=chosen.compiled)


def probe(
    model: nn.Module, activate: Activate, options: list[Precision], pixels: torch.Tensor, device: torch.device
) -> list[Trial]:
    """Time a few batches of each option. One that is hopeless, does not run, or says something else gets speed 0."""
    pixels = pixels.to(device)
    trials: list[Trial] = []
    best, hopeless = float("inf"), set()
    for option in options:
        if option.name in hopeless:  # in the other layout as well
            trials.append(Trial(option, 0.0))
            continue
        try:
            ready = prepare(model, activate, option, device, pixels)
            few = pixels if option.compiled else pixels[: max(2, len(pixels) // 8)]
            small, batches = partial(_time, ready, few, device), whole_batches(len(few), len(pixels), device)
            cold = small()
            if not option.compiled and is_hopeless(cold, small, batches, best * HOPELESS):
                hopeless.add(option.name)
                trials.append(Trial(option, 0.0))
                continue
            seconds = fastest(partial(_time, ready, pixels, device), BATCH_SECONDS)
        except (RuntimeError, NotImplementedError):  # an operation without this number format, or no memory for it
            if option.name == "fp32" or option.compiled:
                raise
            trials.append(Trial(option, 0.0))
            continue
        right = _right(model, activate, option, pixels, device)
        trials.append(Trial(option, len(pixels) / seconds if right else 0.0))
        best = min(best, seconds) if right else best
    return trials


def _right(model: nn.Module, activate: Activate, option: Precision, pixels: torch.Tensor, device: torch.device) -> bool:
    """Are predictions of a batch as in fp32, but for rounding? Speeds are remembered, this is asked of every model."""
    if option.name == "fp32":
        return True
    pixels = pixels.to(device)
    exact = replace(option, name="fp32", compiled=False)
    said, reference = (
        _run(prepare(model, activate, one, device, pixels), pixels[:32], device)[0] for one in (option, exact)
    )
    spread = (reference - reference.mean(dim=0)).abs().mean()
    unit = reference.abs().mean() if reference.shape[1] > 1 else spread  # probabilities, or numbers
    return bool((said - reference).abs().mean() <= TOLERANCE * (spread + unit) + 1e-6)  # false for nan


def _time(ready: Predictor, pixels: torch.Tensor, device: torch.device) -> float:
    return _run(ready, pixels, device)[1]


@torch.inference_mode()
def _run(ready: Predictor, pixels: torch.Tensor, device: torch.device) -> tuple[torch.Tensor, float]:
    """(predictions, seconds)"""
    start = time.perf_counter()
    said = ready.activate(ready.forward(pixels.float()))
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return said, time.perf_counter() - start
