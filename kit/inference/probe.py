"""Which number format and memory layout this model predicts fastest in, on this machine."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kit import console
from kit.config import TTA
from kit.inference.predictor import Activate, prepare
from kit.machine import Precision, Trial, candidates, choose, measured

TOLERANCE = 0.05  # relative: mean difference of predictions from fp32's
HOPELESS = 3.0  # a first batch this many times slower than the best candidate's ends the trial,
COLD_SECONDS = 1.0  # unless it took less than this: kernels are made on the first call
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
    if tta.compile is True or (tta.compile == "auto" and num_images / best.images_per_second > COMPILE_FROM):
        try:
            trials += try_out([replace(best.precision, compiled=True)])
        except Exception as error:  # torch.compile's back ends raise whatever they like
            console.warn(f"torch.compile does not work here ({str(error).splitlines()[0][:200]}); going on without")
        best = trials[-1] if tta.compile is True else choose(trials)
    console.stage("predict", f"{best.precision} ({best.images_per_second:,.0f} images/s with one view)")
    chosen = best.precision
    decided: dict[str, Any] = {"precision": chosen.name, "memory_format": chosen.memory_format}
    return replace(tta, **decided, compile=chosen.compiled)


def probe(
    model: nn.Module, activate: Activate, options: list[Precision], pixels: torch.Tensor, device: torch.device
) -> list[Trial]:
    """Time a few batches of each option; one whose predictions differ from fp32's gets speed 0."""
    pixels = pixels.to(device)
    reference, _ = _run(prepare(model, activate, Precision("fp32", "contiguous"), device, pixels), pixels[:16], device)
    trials: list[Trial] = []
    best = float("inf")
    for option in options:
        ready = prepare(model, activate, option, device, pixels)
        few = pixels if option.compiled else pixels[: max(2, len(pixels) // 8)]
        _, first = _run(ready, few, device)
        if first > max(best * HOPELESS, COLD_SECONDS) and not option.compiled:
            trials.append(Trial(option, 0.0))
            continue
        seconds = _seconds(lambda ready=ready: _run(ready, pixels, device)[1])  # type: ignore[misc]
        said = _run(ready, pixels, device)[0][: len(reference)]
        scale = (reference - reference.mean()).abs().mean() + reference.abs().mean()
        right = bool((said - reference).abs().mean() <= TOLERANCE * scale)  # false for nan
        trials.append(Trial(option, len(pixels) / seconds if right else 0.0))
        best = min(best, seconds) if right else best
    return trials


def _seconds(once: Callable[[], float]) -> float:
    """The fastest of a few."""
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < 12 and (len(times) < 3 or time.perf_counter() - began < 2):
        times.append(once())
    return min(times)


@torch.inference_mode()
def _run(ready: Any, pixels: torch.Tensor, device: torch.device) -> tuple[torch.Tensor, float]:
    """(predictions, seconds)"""
    start = time.perf_counter()
    said = ready.activate(ready.forward(pixels.float()))
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return said, time.perf_counter() - start
