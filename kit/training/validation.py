"""A model's predictions of a fold's own images, during its training."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from kit.batch import Batch, beside, pooled
from kit.metrics.metric import Metric
from kit.training.step import Stepper

NAN = float("nan")


@dataclass(frozen=True)
class Scores:
    """`num_broken`: images whose predictions are not finite; where there are any, loss and value are nan."""

    loss: float
    value: float
    num_images: int
    num_broken: int


@torch.inference_mode()
def scores(model: nn.Module, batches: Iterable[Batch], stepper: Stepper, metric: Metric) -> Scores:
    """Of the images of all processes, where several share the batches."""
    compute, objective, was_training = stepper.compute, stepper.objective, model.training
    model.eval()
    parts = []
    for batch in batches:
        with compute.autocast():
            pixels = compute.arranged(batch.pixels.to(compute.device, non_blocking=True))
            outputs = model(pixels, *beside(batch, compute.device))
        parts.append((pooled(outputs.float().cpu(), batch), batch.targets))
    model.train(was_training)
    if stepper.share is not None:
        parts = [part for each in stepper.share.listed(parts) for part in each]
    outputs, wanted = (torch.cat(each) for each in zip(*parts, strict=True))
    predictions = objective.activate(outputs).numpy()
    broken = int((~np.isfinite(predictions)).any(axis=1).sum())
    if broken:
        return Scores(NAN, NAN, len(wanted), broken)
    value = metric.score(wanted.numpy(), predictions)
    return Scores(objective.validation(outputs, wanted).item(), value, len(wanted), 0)
