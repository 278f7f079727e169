"""Prediction as a workload to be measured: batches through one view, and whether the results are those of fp32."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from kit.device.accelerator import synchronize
from kit.device.measuring import Workload
from kit.device.precision import Compute, Precision
from kit.inference.predictor import Activate, prepare

TOLERANCE = 0.05  # relative: mean difference from fp32's predictions
COMPARED = 32  # images


class PredictionBatches:
    """`pixels` (B, 3, S, S): a real batch. `subject` names the model and what else decides its speed."""

    def __init__(self, model: nn.Module, activate: Activate, pixels: torch.Tensor, device: torch.device) -> None:
        self.model, self.activate, self.device = model, activate, device
        self.pixels = pixels.to(device)

    def workload(self, subject: tuple[Any, ...]) -> Workload:
        asked = ("inference", *subject, tuple(self.pixels.shape), torch.get_num_threads())
        return Workload(asked, len(self.pixels), self.start, self.is_right)

    def start(self, precision: Precision) -> Callable[[int], float]:
        ready = prepare(self.model, self.activate, Compute(self.device, precision), self.pixels)

        @torch.inference_mode()
        def batch(count: int) -> float:
            began = time.perf_counter()
            ready.activate(ready.forward(self.pixels[:count].float()))
            synchronize(self.device)
            return time.perf_counter() - began

        return batch

    def is_right(self, precision: Precision) -> bool:
        """Are predictions as in fp32, except for rounding? Speeds are remembered; this is checked for every model."""
        if precision.name == "fp32":
            return True
        predictions = self._predictions(precision)
        reference = self._predictions(replace(precision, name="fp32", compiled=False))
        spread = (reference - reference.mean(dim=0)).abs().mean()
        unit = reference.abs().mean() if reference.shape[1] > 1 else spread  # probabilities, or numbers
        return bool((predictions - reference).abs().mean() <= TOLERANCE * (spread + unit) + 1e-6)  # False for NaN

    @torch.inference_mode()
    def _predictions(self, precision: Precision) -> torch.Tensor:
        ready = prepare(self.model, self.activate, Compute(self.device, precision), self.pixels)
        return ready.activate(ready.forward(self.pixels[:COMPARED].float()))
